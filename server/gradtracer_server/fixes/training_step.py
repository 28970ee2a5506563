"""The statement that takes the training's step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_schemas import SourceFrame, SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import arguments, callee_name, calls_in, text_of
from gradtracer_server.fixes.insertion import statement_around
from gradtracer_server.fixes.literals import Place
from gradtracer_server.fixes.optimizer import watch_call
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.source.index import SourceText


@dataclass(frozen=True)
class Step:
    """`optimizer.step()` or `scaler.step(optimizer)`, as it stands in the workspace."""

    path: Path
    """Its file."""
    source: SourceText
    """That file's text."""
    call: Node
    """The call."""
    statement: Node
    """The statement it stands in."""
    optimizer: str
    """What names the optimizer there."""
    scaler: str
    """What names the gradient scaler; empty where there is none."""
    callers: tuple[SourceFrame, ...]
    """The recorded calls that led to it, innermost first."""

    @property
    def line(self) -> int:
        """Its first line, from 1."""
        return self.call.start_point.row + 1

    def place(self, context: FixContext) -> Place:
        """Where its names are understood."""
        return Place(self.path, self.source, self.callers, context.frames)


class TakenByLibrary(NotApplicable):
    """The steps are taken by a library; `call` is the user's call of it."""

    def __init__(self, call: Node, path: Path, source: SourceText) -> None:
        line = call.start_point.row + 1
        super().__init__(
            f"the steps are taken inside {callee_name(call) or 'a call'} on line {line}"
        )
        self.call = call
        self.path = path
        self.source = source


def training_step(context: FixContext) -> Step:
    """The recorded step; in runs that recorded none, the only one of the watched optimizer.

    Raises `NotApplicable`, of which `TakenByLibrary` says that a library has the loop.
    """
    site = context.diagnosis.related.get("step")
    if site is None or not site.frames:
        return _only_step(context)
    for index, frame in enumerate(site.frames):
        for path, source, anchor in context.frames(SourceSite(frames=[frame])):
            if anchor.state not in ("exact", "moved"):
                raise NotApplicable("the step of the training is no longer where it was")
            calls = calls_in(source, anchor)
            steps = [call for call in calls if callee_name(call) == "step"]
            if index == 0 and len(steps) == 1:
                return _read(path, source, steps[0], tuple(site.frames[1:]))
            if calls:
                raise TakenByLibrary(calls[0], path, source)
    raise NotApplicable("the step of the training is taken outside the workspace")


def _read(path: Path, source: SourceText, call: Node, callers: tuple[SourceFrame, ...]) -> Step:
    line = call.start_point.row + 1
    function = call.child_by_field_name("function")
    owner = None if function is None else function.child_by_field_name("object")
    passed = arguments(call)
    if owner is None or passed is None:
        raise NotApplicable(f"the step on line {line} is no plain call of an optimizer")
    named = text_of(owner)
    given = passed.value(0, "closure")
    scaler = ""
    if given is not None:
        if not re.search(rf"(?<![\w.]){re.escape(named)}\s*\.\s*scale\s*\(", source.text):
            raise NotApplicable(
                f"the step on line {line} computes its loss in a closure: change that function"
            )
        named, scaler = text_of(given), named
    return Step(path, source, call, statement_around(call), named, scaler, callers)


def _only_step(context: FixContext) -> Step:
    """The only step in the file of the optimizer that `watch` was given."""
    (path, source, _), watch = watch_call(context)
    passed = arguments(watch)
    optimizer = None if passed is None else passed.value(1, "optimizer")
    name = "optimizer" if optimizer is None else text_of(optimizer)
    found: list[Node] = []
    wanted = re.compile(rf"(?<![\w.]){re.escape(name)}\s*\.\s*step\s*\(".encode())
    for match in wanted.finditer(source.data):
        statement = source.statement_at(source.position_of(match.start()))
        calls = [] if statement is None else source.call_nodes(statement)
        found.extend(
            call
            for call in calls
            if call.start_byte == match.start() and callee_name(call) == "step"
        )
    if len(found) != 1:
        raise NotApplicable(f"{name}.step() stands in {len(found)} places of {path.name}")
    return _read(path, source, found[0], ())
