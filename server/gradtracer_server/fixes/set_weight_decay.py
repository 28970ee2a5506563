"""Give the optimizer a weight decay, in the form that is decoupled from the gradient's scale."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import callee_name, original_name, text_of
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import new_argument
from gradtracer_server.fixes.literals import Literal, follow, number, written
from gradtracer_server.fixes.optimizer import Construction, construction
from gradtracer_server.fixes.parameter_groups import (
    entry,
    groups,
    parameters_argument,
    split,
    split_several,
)
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit

NAME = "set-weight-decay"
TITLE = "Set weight_decay"

_DECOUPLED = {"Adam": "AdamW"}
_KNOWN = ("Adam", "AdamW", "SGD")


@dataclass(frozen=True)
class _Target:
    """What is to be written, and where."""

    decay: float
    built: Construction
    optimizer: str
    """The class to build; empty where it stays."""
    literal: Literal | None
    """The number that sets the decay; None when none does."""
    tables: tuple[str, ...] = ()
    """Dotted paths of what it is for, beside a decay of the rest that stays; none: everything."""


def plan(context: FixContext) -> Plan:
    """Edit the number that sets the decay, or add it; and the class, where it couples it."""
    target = _target(context)
    built, decay = target.built, written(target.decay)
    edits: list[TextEdit] = []
    if target.optimizer:
        function = built.call.child_by_field_name("function")
        assert function is not None
        last = function.child_by_field_name("attribute")
        if last is not None:
            edits = [TextEdit(built.source.range_of(last), target.optimizer)]
        else:
            name = named(built.source, f"torch.optim.{target.optimizer}", built.call)
            edits = [*name.edits, TextEdit(built.source.range_of(function), name.text)]
    changes = {built.path: (built.source, edits)}
    literal = target.literal
    where = f"line {built.line}"
    if target.tables:
        edits += _group(target, context)
        if target.optimizer and built.passed.value(None, "weight_decay") is None:
            # AdamW decays by default, which Adam does not.
            edits += new_argument(built.source, built.passed, "weight_decay=0")
    elif literal is None:
        edits += new_argument(built.source, built.passed, f"weight_decay={decay}")
    else:
        edit = TextEdit(literal.source.range_of(literal.node), decay)
        changes.setdefault(literal.path, (literal.source, []))[1].append(edit)
        if literal.via:
            where = f"{literal.via} on line {literal.node.start_point.row + 1}"
    changes = {path: change for path, change in changes.items() if change[1]}
    of = f"{target.optimizer} with " if target.optimizer else ""
    whom = f" for {', '.join(target.tables)}" if target.tables else ""
    return Plan(f"Train with {of}weight_decay={decay}{whom}: {where}", changes)


def _group(target: _Target, context: FixContext) -> list[TextEdit]:
    """A group of the tables; several are named in a statement before."""
    built, setting = target.built, f'"weight_decay": {written(target.decay)}'
    value = parameters_argument(built)
    if len(target.tables) == 1:
        return [split(built, value, target.tables[0], setting, context)]
    return split_several(built, value, target.tables, setting, context)


def locate(context: FixContext) -> None:
    """Find what sets the decay, and go no further. Raises as `plan` does."""
    target = _target(context)
    if target.tables:
        _group(target, context)


def _target(context: FixContext) -> _Target:
    decay = _offered(context)
    built = construction(context)
    name = original_name(built.source, callee_name(built.call))
    if name not in _KNOWN:
        raise NotApplicable(
            f"which optimizer line {built.line} builds cannot be read; choose AdamW there, with "
            f"weight_decay={written(decay)}"
        )
    argument = built.passed.value(0, "params")
    for group in groups(argument) if argument is not None else []:
        if entry(group, "weight_decay") is not None:
            line = group.start_point.row + 1
            raise NotApplicable(f"the group on line {line} sets a weight decay of its own")
    value = built.passed.value(None, "weight_decay")
    if value is None and built.passed.unpacked_keywords:
        raise NotApplicable(f"the call on line {built.line} unpacks its arguments")
    tables = _tables(context)
    if tables:
        return _Target(decay, built, _DECOUPLED.get(name, ""), None, tables)
    literal = None if value is None else _followed(value, built, context, decay)
    return _Target(decay, built, _DECOUPLED.get(name, ""), literal)


def _followed(value: Node, built: Construction, context: FixContext, decay: float) -> Literal:
    place = replace(built.place(context), number=number, wanted="the weight decay")
    literal = follow(value, place)
    given = context.offer.parameters if context.offer is not None else {}
    measured = given.get("measured_decay")
    had = measured if isinstance(measured, int | float) else 0.0
    if literal.value >= decay or literal.value > had * (1 + 1e-6):
        said = text_of(literal.node)
        raise AlreadyApplied(f"weight_decay is {said} already; try {written(decay)}")
    return literal


def _tables(context: FixContext) -> tuple[str, ...]:
    given = context.offer.parameters.get("tables", []) if context.offer is not None else []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise NotApplicable(f"expected the tables to decay as a list of paths, got {given!r}")
    return tuple(given)


def _offered(context: FixContext) -> float:
    given = context.offer.parameters if context.offer is not None else {}
    value = given.get("weight_decay")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
        raise NotApplicable(f"expected the weight_decay to try, above 0, got {value!r}")
    return value
