"""Constrain effects to the direction that a model's own trees show, and train to its best round.

The two are one edit: without the rounds left out, what is constrained learns noise elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.booster_call import BoosterCall, training_call
from gradtracer_server.fixes.edit_booster_parameter import (
    Wanted,
    check,
    finite,
    item,
    literal_of,
    quote_in,
    set_as,
    where_to_add,
)
from gradtracer_server.fixes.insertion import new_item
from gradtracer_server.fixes.literals import Place
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "constrain-monotone"
TITLE = "Constrain effects to one direction, and train the best number of rounds"

_PARAMETER = "monotone_constraints"
_ALIASES = (_PARAMETER, "monotone_constraint", "monotonic_cst", "mc")
_SHOWN = 3
_Changes = dict[Path, tuple[SourceText, list[TextEdit]]]


@dataclass(frozen=True)
class _Signs:
    """1 for a column whose effect rises, -1 for one whose effect falls."""

    by_column: dict[str, int]
    columns: list[str]
    library: str

    def text(self, quote: str) -> str:
        """As the library takes them.

        LightGBM takes one number for each column, the others names too. Names that they made up for
        columns without any say only the position.
        """
        numbers = [self.by_column.get(column, 0) for column in self.columns]
        if self.library == "lightgbm":
            return str(numbers)
        if self._unnamed("f") and self.library == "xgboost":
            return str(tuple(numbers))
        if self._unnamed("") and self.library == "catboost":
            return str({place: sign for place, sign in enumerate(numbers) if sign})

        def written(column: str) -> str:
            return json.dumps(column, ensure_ascii=False) if quote == '"' else repr(column)

        pairs = (f"{written(column)}: {sign}" for column, sign in self.by_column.items())
        return f"{{{', '.join(pairs)}}}"

    def _unnamed(self, before: str) -> bool:
        return all(name == f"{before}{place}" for place, name in enumerate(self.columns))

    @property
    def words(self) -> str:
        """For a title."""
        named = [
            f"{column} to {'rise' if sign > 0 else 'fall'}"
            for column, sign in self.by_column.items()
        ]
        more = len(named) - _SHOWN
        return ", ".join(named[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def plan(context: FixContext) -> Plan:
    """Edit or add the number of rounds, and add the constraints."""
    signs, rounds = _wanted(context)
    call = training_call(context.diagnosis.site, context.frames)
    unset = _unset(call)
    part, name = where_to_add(call, _PARAMETER, signs.library)
    constraints = signs.text(quote_in(part))
    added = [] if unset else [item(part, name, constraints)]
    changes: _Changes = {}
    literal = literal_of(call, rounds)
    if literal is None:
        holds, name = where_to_add(call, rounds.name, signs.library)
        text = item(holds, name, rounds.text)
        if holds.node == part.node:
            added.insert(0, text)
        else:
            _put(changes, holds.place, new_item(holds.place.source, holds.node, text))
    elif literal.value != rounds.value:
        check(literal, rounds)
        edit = TextEdit(literal.source.range_of(literal.node), rounds.text)
        changes[literal.path] = (literal.source, [edit])
    for node, place in unset:
        _put(changes, place, [TextEdit(place.source.range_of(node), constraints)])
    if added:
        _put(changes, part.place, new_item(part.place.source, part.node, ", ".join(added)))
    line = (unset[0][0] if unset else part.node).start_point.row + 1
    return Plan(f"Constrain {signs.words} on line {line}, and train {rounds.text} rounds", changes)


def _put(changes: _Changes, place: Place, edits: list[TextEdit]) -> None:
    changes.setdefault(place.path, (place.source, []))[1].extend(edits)


def locate(context: FixContext) -> None:
    """Find the place, and go no further. Raises as `plan` does."""
    _wanted(context)
    _unset(training_call(context.diagnosis.site, context.frames))


def _unset(call: BoosterCall) -> list[tuple[Node, Place]]:
    """Where `None` is set, if it is. Raises `AlreadyApplied` where constraints are."""
    given = list(set_as(call, _PARAMETER, _ALIASES))[:1]
    if given and given[0][0].type != "none":
        line = given[0][0].start_point.row + 1
        raise AlreadyApplied(f"{_PARAMETER} is set already, on line {line}")
    return given


def _wanted(context: FixContext) -> tuple[_Signs, Wanted]:
    given = context.offer.parameters if context.offer is not None else {}
    signs, columns, rounds = given.get("signs"), given.get("columns"), finite(given.get("rounds"))
    library = str(given.get("library", ""))
    if (
        not isinstance(signs, dict)
        or not isinstance(columns, list)
        or not all(isinstance(column, str) for column in columns)
        or not signs
        or not all(column in columns and sign in (1, -1) for column, sign in signs.items())
        or rounds is None
        or rounds < 1
    ):
        raise NotApplicable(
            f"expected signs of some columns and a number of rounds, got {signs!r} and {rounds!r}"
        )
    wanted = Wanted("num_boost_round", rounds, finite(given.get("measured")), library)
    return _Signs(signs, columns, library), wanted
