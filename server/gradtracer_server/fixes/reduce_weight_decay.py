"""Lower the weight decay of the optimizer that the run was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import text_of
from gradtracer_server.fixes.literals import Literal, follow, number, written
from gradtracer_server.fixes.optimizer import construction
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit

NAME = "reduce-weight-decay"
TITLE = "Lower weight_decay"


def plan(context: FixContext) -> Plan:
    """Edit the number that sets `weight_decay`, wherever it stands."""
    wanted, path, literal = _target(context)
    title = f"Lower weight_decay from {text_of(literal.node)} to {written(wanted)}"
    if literal.via:
        file = "" if literal.path == path else f" of {literal.path.name}"
        title += f": {literal.via} on line {literal.node.start_point.row + 1}{file}"
    edit = TextEdit(literal.source.range_of(literal.node), written(wanted))
    return Plan(title, {literal.path: (literal.source, [edit])})


def locate(context: FixContext) -> None:
    """Find the number, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[float, Path, Literal]:
    """The decay to set, the file of the optimizer, and the number that sets the decay."""
    wanted = _offered(context)
    built = construction(context)
    value = built.passed.value(None, "weight_decay")
    if value is None:
        raise NotApplicable(f"weight_decay is not passed by name on line {built.line}")
    literal = follow(value, replace(built.place(context), number=number, wanted="the weight decay"))
    if literal.value <= wanted or literal.value < _measured(context):
        raise AlreadyApplied(f"weight_decay is {literal.value:g} already; try {wanted:g}")
    return wanted, built.path, literal


def _offered(context: FixContext) -> float:
    value = context.offer.parameters.get("weight_decay") if context.offer is not None else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise NotApplicable(f"expected the weight_decay to try, at least 0, got {value!r}")
    return value


def _measured(context: FixContext) -> float:
    """The decay that the run had; a text that sets less was edited since. 0 when not told."""
    value = context.offer.parameters.get("measured_decay") if context.offer is not None else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
