"""Lower the weight decay of the optimizer that the run was given."""

from __future__ import annotations

from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import (
    arguments,
    callee_name,
    calls_in,
    original_name,
    text_of,
)
from gradtracer_server.fixes.literals import Literal, Place, follow, number, scope_of
from gradtracer_server.fixes.proposal import FixContext, Frame, Plan
from gradtracer_server.source.edits import TextEdit

NAME = "reduce-weight-decay"
TITLE = "Lower weight_decay"

_OPTIMIZER_INDEX = 1


def plan(context: FixContext) -> Plan:
    """Edit the number that sets `weight_decay`, wherever it stands."""
    wanted, path, literal = _target(context)
    title = f"Lower weight_decay from {text_of(literal.node)} to {_written(wanted)}"
    if literal.via:
        file = "" if literal.path == path else f" of {literal.path.name}"
        title += f": {literal.via} on line {literal.node.start_point.row + 1}{file}"
    edit = TextEdit(literal.source.range_of(literal.node), _written(wanted))
    return Plan(title, {literal.path: (literal.source, [edit])})


def locate(context: FixContext) -> None:
    """Find the number, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[float, Path, Literal]:
    """The decay to set, the file of the watch call, and the number that sets the decay."""
    wanted = _offered(context)
    frame, call = _watch_call(context)
    path, source, _ = frame
    watch = context.diagnosis.related["watch"].frames
    constructor = _constructor(call)
    passed = arguments(constructor)
    value = None if passed is None else passed.value(None, "weight_decay")
    if value is None:
        line = constructor.start_point.row + 1
        raise NotApplicable(f"weight_decay is not passed by name on line {line}")
    place = Place(
        path, source, tuple(watch[1:]), context.frames, number=number, wanted="the weight decay"
    )
    literal = follow(value, place)
    if literal.value <= wanted or literal.value < _measured(context):
        raise AlreadyApplied(f"weight_decay is {literal.value:g} already; try {wanted:g}")
    return wanted, path, literal


def _offered(context: FixContext) -> float:
    value = context.offer.parameters.get("weight_decay") if context.offer is not None else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise NotApplicable(f"expected the weight_decay to try, at least 0, got {value!r}")
    return value


def _measured(context: FixContext) -> float:
    """The decay that the run had; a text that sets less was edited since. 0 when not told."""
    value = context.offer.parameters.get("measured_decay") if context.offer is not None else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _watch_call(context: FixContext) -> tuple[Frame, Node]:
    site = context.diagnosis.related.get("watch")
    for frame in [] if site is None else context.frames(site)[:1]:
        _, source, anchor = frame
        for call in calls_in(source, anchor):
            name = callee_name(call)
            if "watch" in (name, original_name(source, name)):
                return frame, call
    raise NotApplicable("the call of gradtracer.watch is not where it was, or has changed")


def _constructor(watch: Node) -> Node:
    """The call that builds what `watch` was given as its optimizer."""
    passed = arguments(watch)
    optimizer = None if passed is None else passed.value(_OPTIMIZER_INDEX, "optimizer")
    if optimizer is None:
        raise NotApplicable("watch is not given the optimizer; pass optimizer=optimizer")
    if optimizer.type == "call":
        return optimizer
    name = text_of(optimizer)
    scope = scope_of(optimizer)
    while optimizer.type == "identifier" and scope is not None:
        found = names.bindings(scope, name)
        if len(found) == 1 and found[0] is not None and found[0].type == "call":
            return found[0]
        if found or names.parameter(scope, name) is not None:
            break
        scope = scope_of(scope)
    raise NotApplicable(f"where {name} is built cannot be read from the source")


def _written(value: float) -> str:
    """As people write it: `1e-5`, `0.001`, `0`."""
    return f"{value:g}".replace("e-0", "e-")
