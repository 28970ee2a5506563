"""Set the learning rate: of everything, or of one part of the model in a group of its own.

`reduce_learning_rate.py` and `raise_learning_rate.py` say which way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import callee_name, text_of
from gradtracer_server.fixes.insertion import insert, new_argument
from gradtracer_server.fixes.library_settings import LibrarySettings, optimizer_or_settings
from gradtracer_server.fixes.literals import Literal, Place, follow, number, written
from gradtracer_server.fixes.optimizer import Construction
from gradtracer_server.fixes.parameter_groups import (
    entry,
    group_of,
    groups,
    is_part,
    parameters_argument,
    split,
    split_group,
)
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.watched_model import check_known
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

_LR_INDEX = 1
_OWN_RATE = ("OneCycleLR", "CyclicLR")
_SETTING = "learning_rate"
_SETTINGS = {"TrainingArguments": _SETTING}
"""What a library's loop is told the rate by."""

Settled = Callable[[float, float, float], bool]
"""Whether a rate in the text is as wanted already, by it, the offered and the measured one."""


@dataclass(frozen=True)
class Target:
    """What is to be written, and where."""

    lr: float
    """The rate."""
    path: str
    """Dotted path of the part; empty for the whole model."""
    built: Construction | None = None
    """The optimizer's call; None where a library builds it."""
    literal: Literal | None = None
    """The number that sets the rate; None when none does."""
    group: Node | None = None
    """The part's own group, which says no rate."""
    shared: Node | None = None
    """The group that the part shares with others."""
    argument: Node | None = None
    """The parameters, which the part shares with others."""
    settings: LibrarySettings | None = None
    """The call of a library's settings, which say no rate."""


def planned(target: Target, verb: str, context: FixContext) -> Plan:
    """Edit the number that sets the rate, or make the group for which it is set."""
    lr, path, built = written(target.lr), target.path, target.built
    whose = f" of {path}" if path else ""
    if target.literal is not None:
        literal = target.literal
        title = f"{verb} lr{whose} from {text_of(literal.node)} to {lr}"
        if literal.via:
            here = built is None or literal.path == built.path
            file = "" if here else f" of {literal.path.name}"
            title += f": {literal.via} on line {literal.node.start_point.row + 1}{file}"
        edit = TextEdit(literal.source.range_of(literal.node), lr)
        return Plan(title, {literal.path: (literal.source, [edit])})
    if target.settings is not None:
        settings = target.settings
        edits = new_argument(settings.source, settings.passed, f"{_SETTING}={lr}")
        title = f"Set {_SETTING} to {lr} in the call of {settings.name} on line {settings.line}"
        return Plan(title, {settings.path: (settings.source, edits)})
    assert built is not None
    setting = f'"lr": {lr}'
    if target.group is not None:
        edits = [_in_group(built.source, target.group, lr)]
        title = f"Set lr{whose} to {lr} in its group on line {target.group.start_point.row + 1}"
    elif target.shared is not None:
        edits = split_group(built, target.shared, path, setting, context)
        line = target.shared.start_point.row + 1
        title = f"Split {path} off its parameter group on line {line}, with lr={lr}"
    elif target.argument is not None:
        edits = [split(built, target.argument, path, setting, context)]
        title = f"Give {path} a parameter group of its own with lr={lr}"
    else:
        edits = new_argument(built.source, built.passed, f"lr={lr}")
        title = f"Set lr to {lr} on line {built.line}"
    groups_are_new = target.shared is not None or target.argument is not None
    return Plan(title, {built.path: (built.source, edits)}, rewrites=groups_are_new)


def find(context: FixContext, settled: Settled) -> Target:
    """What sets the rate. Raises `NotApplicable`, or `AlreadyApplied` where it is as wanted."""
    lr, path = _offered(context)
    built = optimizer_or_settings(context, _SETTINGS)
    if isinstance(built, LibrarySettings):
        return _in_library(lr, path, settled, context, built)
    _check_schedule(built)
    argument = built.passed.value(0, "params")
    argument = parameters_argument(built) if path else argument
    if path and argument is not None and not is_part(argument, path, built.place(context), context):
        own, shared = group_of(argument, path, built.place(context), context)
        if own is not None:
            rate = entry(own, "lr")
            if rate is None:
                return Target(lr, path, built, group=own)
            place = built.place(context)
            return Target(lr, path, built, literal=_followed(rate, place, context, lr, settled))
        if shared is not None:
            return Target(lr, path, built, shared=shared)
        if groups(argument):
            raise NotApplicable(
                f"the groups on line {argument.start_point.row + 1} do not name {path}; give it a "
                f"group of its own with lr={written(lr)}"
            )
        return Target(lr, path, built, argument=argument)
    for group in groups(argument) if argument is not None else []:
        if entry(group, "lr") is not None:
            line = group.start_point.row + 1
            raise NotApplicable(f"the group on line {line} sets a learning rate of its own")
    value = built.passed.value(_LR_INDEX, "lr")
    if value is not None:
        place = built.place(context)
        return Target(lr, path, built, literal=_followed(value, place, context, lr, settled))
    if built.passed.unpacked or built.passed.unpacked_keywords:
        raise NotApplicable(f"the call on line {built.line} unpacks its arguments")
    return Target(lr, path, built)


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


def _in_library(
    lr: float, path: str, settled: Settled, context: FixContext, settings: LibrarySettings
) -> Target:
    """Where the settings of a library that builds the optimizer say the rate."""
    if path:
        raise NotApplicable(
            f"{settings.name} on line {settings.line} has one rate for all; for {path} alone, give "
            "the trainer an optimizer with a group of its own"
        )
    value = settings.passed.value(None, _SETTING)
    if value is not None:
        literal = _followed(value, settings.place(context), context, lr, settled)
        return Target(lr, path, literal=literal)
    settings.check_plain()
    return Target(lr, path, settings=settings)


def _followed(
    value: Node, place: Place, context: FixContext, lr: float, settled: Settled
) -> Literal:
    literal = follow(value, replace(place, number=number, wanted="the learning rate"))
    given = context.offer.parameters if context.offer is not None else {}
    measured = given.get("measured_lr")
    if settled(literal.value, lr, measured if isinstance(measured, int | float) else literal.value):
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
                raise NotApplicable(
                    f"{name} on line {line} sets the learning rate: change it there"
                )


def _in_group(source: SourceText, group: Node, lr: str) -> TextEdit:
    """`"lr": ...` after the last pair of a group."""
    pairs = [pair for pair in group.named_children if pair.type == "pair"]
    quote = text_of(pairs[-1].child_by_field_name("key"))[:1]
    return insert(source, pairs[-1].end_byte, f", {quote}lr{quote}: {lr}")
