"""The call that builds the optimizer of a diagnosis' layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_schemas import SourceFrame, SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import (
    Arguments,
    arguments,
    callee_name,
    calls_in,
    original_name,
    text_of,
)
from gradtracer_server.fixes.literals import Place, scope_of
from gradtracer_server.fixes.proposal import FixContext, Frame
from gradtracer_server.source.index import SourceText

_WATCH = ("watch", "EmbeddingTracker")
_WATCHED_OPTIMIZER = 1


@dataclass(frozen=True)
class Construction:
    """A call that builds an optimizer."""

    path: Path
    """Its file."""
    source: SourceText
    """That file's text."""
    call: Node
    """The call."""
    passed: Arguments
    """What it passes."""
    callers: tuple[SourceFrame, ...]
    """The recorded calls that led to it, innermost first."""

    @property
    def line(self) -> int:
        """Its first line, from 1."""
        return self.call.start_point.row + 1

    def place(self, context: FixContext) -> Place:
        """Where its arguments stand."""
        diagnosis = context.diagnosis
        model = diagnosis.related.get("model", SourceSite())
        built = (*diagnosis.site.frames, *model.frames)
        return Place(self.path, self.source, self.callers, context.frames, built=built)


def construction(context: FixContext) -> Construction:
    """The recorded call; in runs that recorded none, the one that `watch` was given the result of.

    Raises `NotApplicable` where neither can be found in the workspace as it is now.
    """
    site = context.diagnosis.related.get("optimizer")
    if site is None or not site.frames:
        return _given_to_watch(context)
    for index, frame in enumerate(site.frames):
        for path, source, anchor in context.frames(SourceSite(frames=[frame])):
            if index > 0:
                raise NotApplicable(
                    f"the optimizer is built inside {Path(site.frames[0].file).name}, outside the "
                    "workspace: set this where you configure it"
                )
            calls = calls_in(source, anchor)
            if anchor.state == "gone" or not calls or (anchor.focus == anchor.range and calls[1:]):
                raise NotApplicable("the optimizer is no longer built where it was")
            return _read(path, source, calls[0], tuple(site.frames[index + 1 :]))
    raise NotApplicable("the optimizer is built outside the workspace")


def watch_call(context: FixContext) -> tuple[Frame, Node]:
    """The recorded call of `watch` or of `EmbeddingTracker`."""
    site = context.diagnosis.related.get("watch")
    if site is None or not site.frames:
        raise NotApplicable("the run recorded neither the optimizer nor a call of watch")
    for frame in context.frames(site)[:1]:
        _, source, anchor = frame
        for call in calls_in(source, anchor):
            name = callee_name(call)
            if name in _WATCH or original_name(source, name) in _WATCH:
                return frame, call
    raise NotApplicable("the call of gradtracer.watch is not where it was, or has changed")


def _read(
    path: Path, source: SourceText, call: Node, callers: tuple[SourceFrame, ...]
) -> Construction:
    passed = arguments(call)
    if passed is None:
        line = call.start_point.row + 1
        raise NotApplicable(f"what the optimizer is built with on line {line} cannot be read")
    return Construction(path, source, call, passed, callers)


def _given_to_watch(context: FixContext) -> Construction:
    (path, source, _), watch = watch_call(context)
    callers = tuple(context.diagnosis.related["watch"].frames[1:])
    passed = arguments(watch)
    optimizer = None if passed is None else passed.value(_WATCHED_OPTIMIZER, "optimizer")
    if optimizer is None or callee_name(watch) == "EmbeddingTracker":
        raise NotApplicable("watch is not given the optimizer; pass optimizer=optimizer")
    if optimizer.type == "call":
        return _read(path, source, optimizer, callers)
    name = text_of(optimizer)
    scope = scope_of(optimizer)
    while optimizer.type == "identifier" and scope is not None:
        found = names.bindings(scope, name)
        if len(found) == 1 and found[0] is not None and found[0].type == "call":
            return _read(path, source, found[0], callers)
        if found or names.parameter(scope, name) is not None:
            break
        scope = scope_of(scope)
    raise NotApplicable(f"where {name} is built cannot be read from the source")
