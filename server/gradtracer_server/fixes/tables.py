"""The call that builds a diagnosis' table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_schemas import SourceFrame, SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import (
    Arguments,
    arguments,
    callee_name,
    calls_in,
    original_name,
)
from gradtracer_server.fixes.literals import Place
from gradtracer_server.fixes.proposal import FixContext, Frame
from gradtracer_server.source.index import SourceText

CONSTRUCTORS = frozenset({"Embedding", "EmbeddingBag"})
"""What builds a table."""


@dataclass(frozen=True)
class Table:
    """`nn.Embedding(...)` as it stands in the workspace."""

    path: Path
    """Its file."""
    source: SourceText
    """That file's text."""
    call: Node
    """The call."""
    passed: Arguments | None
    """What it passes; None where that cannot be read."""
    callers: tuple[SourceFrame, ...]
    """The recorded calls that led to it, innermost first."""

    @property
    def line(self) -> int:
        """Its first line, from 1."""
        return self.call.start_point.row + 1

    def place(self, context: FixContext) -> Place:
        """Where its arguments stand."""
        return Place(self.path, self.source, self.callers, context.frames)


def table(context: FixContext, *, changed: bool = False) -> Table:
    """The recorded call. Raises `NotApplicable` where it is no table's.

    `changed`: also where its statement is not as the run had it, to see what it says by now.
    """
    (path, source, anchor), index = _first_frame(context)
    if anchor.state == "gone" or (anchor.state == "outdated" and not changed):
        raise NotApplicable("the statement that defines the layer has changed since the run")
    call = _constructor((path, source, anchor))
    callers = tuple(context.diagnosis.site.frames[index + 1 :])
    return Table(path, source, call, arguments(call), callers)


def is_table(call: Node, source: SourceText) -> bool:
    """Whether a call builds a table."""
    name = callee_name(call)
    return name in CONSTRUCTORS or original_name(source, name) in CONSTRUCTORS


def _first_frame(context: FixContext) -> tuple[Frame, int]:
    """The innermost frame in the workspace, and its place in the recorded chain."""
    for index, frame in enumerate(context.diagnosis.site.frames):
        for found in context.frames(SourceSite(frames=[frame])):
            return found, index
    raise NotApplicable("the layer is defined outside the workspace")


def _constructor(frame: Frame) -> Node:
    _, source, anchor = frame
    calls = calls_in(source, anchor)
    tables = [call for call in calls if is_table(call, source)]
    if len(tables) == 1:
        return tables[0]
    if tables:
        raise NotApplicable("several tables are built by this statement; which one is not known")
    built = f"{callee_name(calls[0])}(...)" if calls else "no call"
    raise NotApplicable(
        f"the layer is built by {built}; expected nn.Embedding(...) or nn.EmbeddingBag(...)"
    )
