"""Where a library that has the training loop is told how to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_schemas import SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import Arguments, arguments, callee_name, original_name, text_of
from gradtracer_server.fixes.literals import Place
from gradtracer_server.fixes.optimizer import Construction, construction
from gradtracer_server.fixes.origins import bound_to
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.fixes.training_step import TakenByLibrary, training_step
from gradtracer_server.source.index import SourceText

_ARGS_INDEX = 1
_ARGUMENTS = "TrainingArguments"
"""How Transformers names the classes of its settings, `Seq2SeqTrainingArguments` too."""


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

    def keyword(self, keywords: Mapping[str, str]) -> str | None:
        """What it calls a setting, of that setting's names by class; None where it has none."""
        return keywords.get(_ARGUMENTS if self.name.endswith(_ARGUMENTS) else self.name)

    def check_plain(self) -> None:
        """Raise `NotApplicable` where it may say what is not seen there."""
        if self.passed.unpacked_keywords:
            raise NotApplicable(
                f"the call of {self.name} on line {self.line} unpacks its arguments"
            )

    def place(self, context: FixContext) -> Place:
        """Where its arguments stand."""
        return Place(self.path, self.source, (), context.frames)


def optimizer_or_settings(
    context: FixContext, keywords: Mapping[str, str]
) -> Construction | LibrarySettings:
    """The call that builds the optimizer; where a library does, its settings if they have a name.

    `keywords`: the names of what is to be set, by the class of settings. Raises `NotApplicable`
    where neither can be read.
    """
    try:
        return construction(context)
    except NotApplicable as unread:
        reason = unread
    site = context.diagnosis.related.get("optimizer")
    if site is not None and context.frames(SourceSite(frames=site.frames[:1])):
        raise reason
    try:
        training_step(context)
    except TakenByLibrary as taken:
        settings = library_settings(taken)
    except NotApplicable:
        raise reason from None
    else:
        raise reason
    if settings.keyword(keywords) is None:
        raise reason
    return settings


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
    if settings is not None:
        built = _built(settings)
        passed = None if built is None else arguments(built)
        name = "" if built is None else original_name(source, callee_name(built))
    if passed is None:
        raise NotApplicable(f"{taken}, and what that was told cannot be read")
    return LibrarySettings(name, passed, taken.path, source)


def _built(name: Node) -> Node | None:
    """The call whose result an expression is."""
    value = bound_to(text_of(name), name) if name.type == "identifier" else name
    return value if value is not None and value.type == "call" else None
