"""Where a library that has the training loop is told how to train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import Arguments, arguments, callee_name, original_name, text_of
from gradtracer_server.fixes.origins import bound_to
from gradtracer_server.fixes.training_step import TakenByLibrary
from gradtracer_server.source.index import SourceText

_ARGS_INDEX = 1


@dataclass(frozen=True)
class LibrarySettings:
    """The call that holds the settings."""

    name: str
    """The class it builds: `Trainer` of Lightning, `TrainingArguments` of Transformers."""
    passed: Arguments
    """What it passes."""
    path: Path
    """Its file."""
    source: SourceText
    """That file's text."""

    @property
    def line(self) -> int:
        """Its first line, from 1."""
        return self.passed.node.start_point.row + 1


def library_settings(taken: TakenByLibrary) -> LibrarySettings:
    """The call that built the trainer, or what that was given as its arguments.

    Raises `NotApplicable` where it cannot be read from the source.
    """
    source = taken.source
    function = taken.call.child_by_field_name("function")
    trainer = None if function is None else function.child_by_field_name("object")
    built = None if trainer is None else _built(trainer)
    passed = None if built is None else arguments(built)
    if built is None or passed is None:
        raise NotApplicable(str(taken))
    name = original_name(source, callee_name(built))
    settings = passed.value(_ARGS_INDEX, "args")
    if name == "Trainer" and settings is not None and "transformers" in source.text:
        built = _built(settings)
        passed = None if built is None else arguments(built)
        name = "" if built is None else original_name(source, callee_name(built))
    if passed is None:
        raise NotApplicable(str(taken))
    return LibrarySettings(name, passed, taken.path, source)


def _built(name: Node) -> Node | None:
    """The call whose result an expression is."""
    value = bound_to(text_of(name), name) if name.type == "identifier" else name
    return value if value is not None and value.type == "call" else None
