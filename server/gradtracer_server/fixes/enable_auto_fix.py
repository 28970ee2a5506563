"""Turn `auto_fix` on where the run was started or the table was tracked."""

from __future__ import annotations

from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import (
    Arguments,
    arguments,
    callee_name,
    calls_in,
    original_name,
    text_of,
)
from gradtracer_server.fixes.insertion import new_argument
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "enable-auto-fix"
TITLE = "Turn on auto_fix"

_PLACE = {"watch": None, "EmbeddingTracker": 2}
"""Where a call of each takes `auto_fix` by place; None where it takes it by name only."""


def plan(context: FixContext) -> Plan:
    """Add `auto_fix=True` to the recorded call, or flip its `False`."""
    path, source, call, name = _target(context)
    line = call.start_point.row + 1
    passed = arguments(call)
    if passed is None:
        raise NotApplicable(f"the arguments of {name} on line {line} cannot be read")
    value = passed.value(_PLACE[name], "auto_fix")
    if value is None:
        edits = _added(source, passed, name, line)
    elif value.type == "false":
        edits = [TextEdit(source.range_of(value), "True")]
    else:
        raise NotApplicable(
            f"auto_fix is given as {text_of(value)} in the call of {name} on line {line}; "
            "change it where that is set"
        )
    return Plan(f"Turn on auto_fix in the call of {name} on line {line}", {path: (source, edits)})


def locate(context: FixContext) -> None:
    """Find the call, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[Path, SourceText, Node, str]:
    """The recorded call, its file and the name of what it calls."""
    site = context.diagnosis.related.get("watch")
    if site is None or not site.frames:
        raise NotApplicable(
            "the run was started without a call of gradtracer.watch, so there is none to edit; "
            "set auto_fix = true under [tool.gradtracer] in pyproject.toml"
        )
    for path, source, anchor in context.frames(site):
        for call in calls_in(source, anchor):
            name = callee_name(call)
            name = name if name in _PLACE else original_name(source, name)
            if name in _PLACE:
                _check_unset(call, name)
                return path, source, call, name
    raise NotApplicable("the call that started the run is no longer where it was, or has changed")


def _check_unset(call: Node, name: str) -> None:
    passed = arguments(call)
    value = None if passed is None else passed.value(_PLACE[name], "auto_fix")
    if value is not None and value.type == "true":
        line = call.start_point.row + 1
        raise AlreadyApplied(f"auto_fix is already True in the call of {name} on line {line}")


def _added(source: SourceText, passed: Arguments, name: str, line: int) -> list[TextEdit]:
    if passed.unpacked_keywords or (passed.unpacked and _PLACE[name] is not None):
        raise NotApplicable(
            f"the call of {name} on line {line} unpacks its arguments, which may hold auto_fix"
        )
    return new_argument(source, passed, "auto_fix=True")
