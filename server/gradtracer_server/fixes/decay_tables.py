"""Decay tables in a parameter group of their own, and leave the layers beside them as they are."""

from __future__ import annotations

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.insertion import new_argument
from gradtracer_server.fixes.library_settings import LibrarySettings
from gradtracer_server.fixes.literals import written
from gradtracer_server.fixes.parameter_groups import parameters_argument, split, split_several
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.set_weight_decay import decoupled, target_of

NAME = "decay-tables"
TITLE = "Decay the tables alone"


def plan(context: FixContext) -> Plan:
    """Split the parameters in two groups; and the class, where it couples the decay."""
    target, tables = target_of(context), _tables(context)
    built, decay = target.built, f"weight_decay={written(target.decay)}"
    if isinstance(built, LibrarySettings):
        raise NotApplicable(
            f"{built.name} on line {built.line} has one weight_decay for all; for the tables "
            "alone, give the trainer an optimizer with a group of their own"
        )
    value, setting = parameters_argument(built), f'"weight_decay": {written(target.decay)}'
    edits = decoupled(target)
    if len(tables) == 1:
        edits.append(split(built, value, tables[0], setting, context))
    else:
        edits += split_several(built, value, tables, setting, context)
    if target.optimizer and built.passed.value(None, "weight_decay") is None:
        # AdamW decays by default, which Adam does not.
        edits += new_argument(built.source, built.passed, "weight_decay=0")
    title = f"Decay {', '.join(tables)} alone, by {decay}: line {built.line}"
    return Plan(title, {built.path: (built.source, edits)})


def locate(context: FixContext) -> None:
    """Find what sets the decay, and go no further. Raises as `plan` does."""
    target_of(context)


def _tables(context: FixContext) -> list[str]:
    given = context.offer.parameters.get("tables") if context.offer is not None else None
    if not isinstance(given, list) or not given or not all(isinstance(t, str) for t in given):
        raise NotApplicable(f"expected the tables to decay as a list of paths, got {given!r}")
    return given
