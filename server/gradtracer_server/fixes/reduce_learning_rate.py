"""Lower the learning rate: of everything, or of one layer in a parameter group of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import callee_name, text_of
from gradtracer_server.fixes.insertion import insert, new_argument
from gradtracer_server.fixes.literals import Literal, follow, number, written
from gradtracer_server.fixes.optimizer import Construction, construction
from gradtracer_server.fixes.parameter_groups import (
    entry,
    group_of,
    groups,
    is_part,
    parameters_argument,
    split,
)
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.watched_model import check_known
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "reduce-learning-rate"
TITLE = "Lower the learning rate"

_LR_INDEX = 1
_OWN_RATE = ("OneCycleLR", "CyclicLR")


@dataclass(frozen=True)
class _Target:
    """What is to be written, and where."""

    lr: float
    built: Construction
    path: str
    """Dotted path of the layer; empty for the whole model."""
    literal: Literal | None = None
    """The number that sets the rate; None when none does."""
    group: Node | None = None
    """The layer's own group, which says no rate."""
    argument: Node | None = None
    """The parameters, which the layer shares with others."""


def plan(context: FixContext) -> Plan:
    """Edit the number that sets the rate, or make the group for which it is set."""
    target = _target(context)
    built, lr = target.built, written(target.lr)
    whose = f" of {target.path}" if target.path else ""
    if target.literal is not None:
        literal = target.literal
        title = f"Lower lr{whose} from {text_of(literal.node)} to {lr}"
        if literal.via:
            file = "" if literal.path == built.path else f" of {literal.path.name}"
            title += f": {literal.via} on line {literal.node.start_point.row + 1}{file}"
        edit = TextEdit(literal.source.range_of(literal.node), lr)
        return Plan(title, {literal.path: (literal.source, [edit])})
    if target.group is not None:
        edits = [_in_group(built.source, target.group, lr)]
        title = f"Set lr{whose} to {lr} in its group on line {target.group.start_point.row + 1}"
    elif target.argument is not None:
        setting = f'"lr": {lr}'
        edits = [split(built, target.argument, target.path, setting, context)]
        title = f"Give {target.path} a parameter group of its own with lr={lr}"
    else:
        edits = new_argument(built.source, built.passed, f"lr={lr}")
        title = f"Set lr to {lr} on line {built.line}"
    return Plan(title, {built.path: (built.source, edits)})


def locate(context: FixContext) -> None:
    """Find what sets the rate, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> _Target:
    lr, path = _offered(context)
    built = construction(context)
    _check_schedule(built)
    argument = built.passed.value(0, "params")
    argument = parameters_argument(built) if path else argument
    if path and argument is not None and not is_part(argument, path, built.place(context), context):
        own, shared = group_of(argument, path, built.place(context), context)
        if own is not None:
            rate = entry(own, "lr")
            if rate is None:
                return _Target(lr, built, path, group=own)
            return _Target(lr, built, path, literal=_followed(rate, built, context, lr))
        if shared is not None or groups(argument):
            raise NotApplicable(
                f"the groups on line {argument.start_point.row + 1} do not name {path}; give it a "
                f"group of its own with lr={written(lr)}"
            )
        return _Target(lr, built, path, argument=argument)
    for group in groups(argument) if argument is not None else []:
        if entry(group, "lr") is not None:
            line = group.start_point.row + 1
            raise NotApplicable(f"the group on line {line} sets a learning rate of its own")
    value = built.passed.value(_LR_INDEX, "lr")
    if value is not None:
        return _Target(lr, built, path, literal=_followed(value, built, context, lr))
    if built.passed.unpacked or built.passed.unpacked_keywords:
        raise NotApplicable(f"the call on line {built.line} unpacks its arguments")
    return _Target(lr, built, path)


def _offered(context: FixContext) -> tuple[float, str]:
    given = context.offer.parameters if context.offer is not None else {}
    lr, path = given.get("lr"), given.get("parameters", "")
    if not isinstance(lr, int | float) or isinstance(lr, bool) or not 0 < lr < math.inf:
        raise NotApplicable(f"expected the lr to try, above 0, got {lr!r}")
    if not isinstance(path, str) or all(path.split(".")) is not bool(path):
        raise NotApplicable(f"expected the dotted path of a layer, got {path!r}")
    if path:
        check_known(context, path)
    return lr, path


def _followed(value: Node, built: Construction, context: FixContext, lr: float) -> Literal:
    place = replace(built.place(context), number=number, wanted="the learning rate")
    literal = follow(value, place)
    given = context.offer.parameters if context.offer is not None else {}
    measured = given.get("measured_lr")
    had = measured if isinstance(measured, int | float) else 0
    # What the run had comes from the very text, but through a float of its own.
    if literal.value <= lr or literal.value < had * (1 - 1e-6):
        raise AlreadyApplied(f"lr is {literal.value:g} already; try {written(lr)}")
    return literal


def _check_schedule(built: Construction) -> None:
    """Some schedules set the rate themselves, whatever the optimizer was built with."""
    for name in _OWN_RATE:
        at = built.source.data.find(name.encode() + b"(")
        statement = built.source.statement_at(built.source.position_of(at)) if at >= 0 else None
        for call in [] if statement is None else built.source.call_nodes(statement):
            if callee_name(call) == name:
                line = call.start_point.row + 1
                raise NotApplicable(f"{name} on line {line} sets the learning rate: lower it there")


def _in_group(source: SourceText, group: Node, lr: str) -> TextEdit:
    """`"lr": ...` after the last pair of a group."""
    pairs = [pair for pair in group.named_children if pair.type == "pair"]
    quote = text_of(pairs[-1].child_by_field_name("key"))[:1]
    return insert(source, pairs[-1].end_byte, f", {quote}lr{quote}: {lr}")
