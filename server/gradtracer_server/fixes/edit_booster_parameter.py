"""Set a parameter of the booster where it stands, or add it where it is absent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tree_sitter import Node

from gradtracer_schemas.booster_parameters import BOOSTER_PARAMETERS, CATBOOST_NAMES
from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.booster_call import BoosterCall, Part, given_in, training_call
from gradtracer_server.fixes.calls import arguments, text_of
from gradtracer_server.fixes.insertion import new_item
from gradtracer_server.fixes.literals import Literal, Place, follow, number
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit

NAME = "edit-booster-parameter"
TITLE = "Set a parameter of the booster"

_OF_THE_CALL = frozenset({"num_boost_round", "early_stopping_rounds"})
"""What `train` and `cv` take as arguments of their own."""
_ROUNDS_INDEX = 2
_SAME = 1e-6


@dataclass(frozen=True)
class Wanted:
    """What a diagnosis asks for."""

    name: str
    value: float
    measured: float | None
    """What the run had; None when it was not told."""
    library: str

    @property
    def text(self) -> str:
        """As people write it: `0.1`, `1e-5`, `300`."""
        return f"{self.value:g}".replace("e-0", "e-") if self.value < 1e6 else str(self.value)


def plan(context: FixContext) -> Plan:
    """Edit the number that sets the parameter, or add the parameter."""
    wanted = _wanted(context)
    call = training_call(context.diagnosis.site, context.frames)
    literal = literal_of(call, wanted)
    if literal is not None:
        check(literal, wanted)
        title = f"Set {_spelled(call, wanted.name)} from {text_of(literal.node)} to {wanted.text}"
        here = "" if literal.path == call.place.path else f" of {literal.path.name}"
        line = literal.node.start_point.row + 1
        title += f": {literal.via} on line {line}{here}" if literal.via else f" on line {line}"
        edit = TextEdit(literal.source.range_of(literal.node), wanted.text)
        return Plan(title, {literal.path: (literal.source, [edit])})
    part, name = where_to_add(call, wanted.name, wanted.library)
    source = part.place.source
    line = part.node.start_point.row + 1
    return Plan(
        f"Add {name}={wanted.text} on line {line}",
        {part.place.path: (source, new_item(source, part.node, item(part, name, wanted.text)))},
    )


def item(part: Part, name: str, value: str) -> str:
    """The text that sets a parameter in an argument list or a dictionary."""
    quote = quote_in(part)
    return f"{quote}{name}{quote}: {value}" if part.is_dictionary else f"{name}={value}"


def quote_in(part: Part) -> str:
    """The quotes of its strings."""
    return '"' if '"' in text_of(part.node) or "'" not in text_of(part.node) else "'"


def locate(context: FixContext) -> None:
    """Find the place, and go no further. Raises as `plan` does."""
    wanted = _wanted(context)
    literal = literal_of(training_call(context.diagnosis.site, context.frames), wanted)
    if literal is not None:
        check(literal, wanted)


def _wanted(context: FixContext) -> Wanted:
    given = context.offer.parameters if context.offer is not None else {}
    name, value = given.get("parameter"), finite(given.get("value"))
    if not isinstance(name, str) or name not in BOOSTER_PARAMETERS or value is None:
        raise NotApplicable(
            f"expected a parameter of a booster and its value, got {name!r} and "
            f"{given.get('value')!r}"
        )
    return Wanted(name, value, finite(given.get("measured")), str(given.get("library", "")))


def finite(value: object) -> float | None:
    """A number that a probe told; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def check(literal: Literal, wanted: Wanted) -> None:
    """A text that says something else than the run had was edited since: `AlreadyApplied`."""
    if _same(literal.value, wanted.value):
        raise AlreadyApplied(f"{wanted.name} is {text_of(literal.node)} already")
    if wanted.measured is not None and not _same(literal.value, wanted.measured):
        raise AlreadyApplied(
            f"{wanted.name} is {text_of(literal.node)} now; the run had {wanted.measured:g}"
        )
    if wanted.measured is None and wanted.name == "early_stopping_rounds" and literal.value > 0:
        raise AlreadyApplied(f"early_stopping_rounds={text_of(literal.node)} is set already")


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-12)


def literal_of(call: BoosterCall, wanted: Wanted) -> Literal | None:
    """The number that sets the parameter; None when nothing does."""
    for expression, place in settings(call, wanted.name):
        if expression.type == "none":
            continue
        return follow(expression, replace(place, number=number, wanted=wanted.name))
    return None


def _spelled(call: BoosterCall, name: str) -> str:
    """The name under which a parameter is set: `n_estimators` for `num_boost_round`."""
    for expression, _ in settings(call, name):
        holder = expression.parent
        if expression.type == "none" or holder is None:
            continue
        key = holder.child_by_field_name("name" if holder.type == "keyword_argument" else "key")
        said = text_of(key).strip("\"'")
        return said if said in BOOSTER_PARAMETERS[name] else name
    return name


def settings(call: BoosterCall, name: str) -> Iterator[tuple[Node, Place]]:
    """The expressions that set a parameter, the one that counts first.

    Raises `NotApplicable` where several assignments may set it.
    """
    yield from set_as(call, name, BOOSTER_PARAMETERS[name])
    if name == "num_boost_round" and call.kind in ("train", "cv"):
        passed = arguments(call.call)
        if passed is not None and len(passed.positional) > _ROUNDS_INDEX:
            yield passed.positional[_ROUNDS_INDEX], call.place


def set_as(call: BoosterCall, name: str, aliases: tuple[str, ...]) -> Iterator[tuple[Node, Place]]:
    """The same for what is set by keywords and keys alone, under any of these names."""
    assigned = [each for alias in aliases for each in call.assigned.get(alias, ())]
    if len(assigned) > 1:
        raise NotApplicable(f"{name} is assigned in {len(assigned)} places")
    yield from assigned
    for part in call.parts:
        yield from ((value, part.place) for key, value in given_in(part) if key in aliases)


def where_to_add(call: BoosterCall, name: str, library: str) -> tuple[Part, str]:
    """The part that is to hold the parameter, and its name there."""
    if not call.parts:
        raise NotApplicable("the arguments of the call that trained cannot be read")
    if library == "catboost":
        name = CATBOOST_NAMES.get(name, name)
    if call.kind in ("fit", "build"):
        name = "n_estimators" if name == "num_boost_round" else name
        name = _estimators_name(name, library)
        return call.parts[1 if call.kind == "fit" else 0], name
    takes_it = name in _OF_THE_CALL and (library == "xgboost" or name == "num_boost_round")
    if takes_it:
        return call.parts[0], name
    if len(call.parts) < 2:
        raise NotApplicable("the parameters of the call that trained cannot be read")
    return call.parts[1], _estimators_name(name, library)


def _estimators_name(name: str, library: str) -> str:
    """How the library calls what has another name in another one."""
    if library == "xgboost" and name == "min_split_gain":
        return "gamma"
    if library == "lightgbm" and name == "early_stopping_rounds":
        return "early_stopping_round"
    return name
