"""Give the optimizer a weight decay, in the form that is decoupled from the gradient's scale.

Where Transformers builds the optimizer, what that is told. `decay_tables.py` gives it to tables
alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import callee_name, original_name, text_of
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import new_argument
from gradtracer_server.fixes.library_settings import LibrarySettings, optimizer_or_settings
from gradtracer_server.fixes.literals import Literal, follow, number, written
from gradtracer_server.fixes.optimizer import Construction
from gradtracer_server.fixes.parameter_groups import entry, groups
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit

NAME = "set-weight-decay"
TITLE = "Set weight_decay"

_DECOUPLED = {"Adam": "AdamW"}
_KNOWN = ("Adam", "AdamW", "SGD")
_SETTING = "weight_decay"
_SETTINGS = {"TrainingArguments": _SETTING}
"""What a library's loop is told the decay by."""


@dataclass(frozen=True)
class Target:
    """What is to be written, and where."""

    decay: float
    built: Construction | LibrarySettings
    """The optimizer's call; the settings of a library that builds it."""
    optimizer: str
    """The class to build; empty where it stays."""
    literal: Literal | None
    """The number that sets the decay; None when none does."""


def plan(context: FixContext) -> Plan:
    """Edit the number that sets the decay, or add it; and the class, where it couples it."""
    target = target_of(context)
    built, decay = target.built, written(target.decay)
    edits = decoupled(target)
    changes = {built.path: (built.source, edits)}
    literal = target.literal
    where = f"line {built.line}"
    if literal is None:
        edits += new_argument(built.source, built.passed, f"{_SETTING}={decay}")
    else:
        edit = TextEdit(literal.source.range_of(literal.node), decay)
        changes.setdefault(literal.path, (literal.source, []))[1].append(edit)
        if literal.via:
            where = f"{literal.via} on line {literal.node.start_point.row + 1}"
    changes = {path: change for path, change in changes.items() if change[1]}
    of = f"{target.optimizer} with " if target.optimizer else ""
    return Plan(f"Train with {of}weight_decay={decay}: {where}", changes)


def decoupled(target: Target) -> list[TextEdit]:
    """Edits that call the class whose decay is decoupled, in place of the one that couples it."""
    built = target.built
    if isinstance(built, LibrarySettings) or not target.optimizer:
        return []
    function = built.call.child_by_field_name("function")
    assert function is not None
    last = function.child_by_field_name("attribute")
    if last is not None:
        return [TextEdit(built.source.range_of(last), target.optimizer)]
    name = named(built.source, f"torch.optim.{target.optimizer}", built.call)
    return [*name.edits, TextEdit(built.source.range_of(function), name.text)]


def locate(context: FixContext) -> None:
    """Find what sets the decay, and go no further. Raises as `plan` does."""
    target_of(context)


def target_of(context: FixContext) -> Target:
    """What decays now, and what is to. Raises as `plan` does."""
    decay = _offered(context)
    built = optimizer_or_settings(context, _SETTINGS)
    if isinstance(built, LibrarySettings):
        return Target(decay, built, "", _literal(built, context, decay))
    name = original_name(built.source, callee_name(built.call))
    if name not in _KNOWN:
        raise NotApplicable(
            f"which optimizer line {built.line} builds cannot be read; choose AdamW there, with "
            f"weight_decay={written(decay)}"
        )
    argument = built.passed.value(0, "params")
    for group in groups(argument) if argument is not None else []:
        set_there = entry(group, _SETTING)
        if set_there is not None:
            line, said = group.start_point.row + 1, text_of(set_there)
            if said == written(decay):
                raise AlreadyApplied(f"the group on line {line} has weight_decay={said} already")
            raise NotApplicable(f"the group on line {line} sets a weight decay of its own")
    return Target(decay, built, _DECOUPLED.get(name, ""), _literal(built, context, decay))


def _literal(
    built: Construction | LibrarySettings, context: FixContext, decay: float
) -> Literal | None:
    """The number that sets the decay; None when none does."""
    value = built.passed.value(None, _SETTING)
    if value is None:
        if built.passed.unpacked_keywords:
            raise NotApplicable(f"the call on line {built.line} unpacks its arguments")
        return None
    place = replace(built.place(context), number=number, wanted="the weight decay")
    literal = follow(value, place)
    given = context.offer.parameters if context.offer is not None else {}
    measured = given.get("measured_decay")
    had = measured if isinstance(measured, int | float) else 0.0
    if literal.value >= decay or literal.value > had * (1 + 1e-6):
        said = text_of(literal.node)
        raise AlreadyApplied(f"weight_decay is {said} already; try {written(decay)}")
    return literal


def _offered(context: FixContext) -> float:
    given = context.offer.parameters if context.offer is not None else {}
    value = given.get("weight_decay")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
        raise NotApplicable(f"expected the weight_decay to try, above 0, got {value!r}")
    return value
