"""Give a table the rows that its ids need, and fold ids beyond them into it by their remainder.

Ids below the new size keep their rows. Others share the row of their remainder, where they would
otherwise fail: a table may meet ids in serving that it never met in training.
"""

from __future__ import annotations

from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.built_alone import check_alone
from gradtracer_server.fixes.calls import arguments, callee_name, text_of
from gradtracer_server.fixes.literals import integer
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.table_uses import Use, ids_of, uses
from gradtracer_server.fixes.tables import Table, table
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "shrink-table"
TITLE = "Shrink the table to the ids that occur"

_PLAIN = frozenset({"attribute", "call", "identifier", "parenthesized_expression", "subscript"})
"""What binds closer than `%`."""


def plan(context: FixContext) -> Plan:
    """Bound `num_embeddings` where the table is built, and the ids where they are looked up."""
    rows, found, value = _target(context)
    _check_padding(found, rows)
    check_alone(
        found, context, f"give this one {rows} rows, and look its ids up by their remainder"
    )
    look_ups = _look_ups(context)
    changes: dict[Path, tuple[SourceText, list[TextEdit]]] = {
        found.path: (found.source, [_sized(found, value, rows)])
    }
    for use in look_ups:
        source, edits = changes.setdefault(use.path, (use.source, []))
        edits.extend(_folded(source, use))
    count = len(look_ups)
    places = "one look-up" if count == 1 else f"{count} look-ups"
    title = (
        f"Set num_embeddings to {rows} on line {found.line}, and fold the ids of {places} into it"
    )
    return Plan(title, changes)


def locate(context: FixContext) -> None:
    """Find the number of rows, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[int, Table, Node]:
    rows = context.offer.parameters.get("num_embeddings") if context.offer is not None else None
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        raise NotApplicable(f"expected the num_embeddings to set, at least 1, got {rows!r}")
    found = table(context, changed=True)
    value = None if found.passed is None else found.passed.value(0, "num_embeddings")
    if value is None:
        raise NotApplicable("num_embeddings is not passed by name or place; it may be unpacked")
    limit = _limit(value)
    if limit is not None and limit <= rows:
        raise AlreadyApplied(f"the table has at most {limit} rows already")
    return rows, found, value


def _limit(value: Node) -> int | None:
    """The most rows that an expression gives, where it says so: a number, or `min` with one."""
    plain = integer(value)
    if plain is not None or value.type != "call" or callee_name(value) != "min":
        return plain
    passed = arguments(value)
    limits = [integer(each) for each in passed.positional] if passed is not None else []
    return min((each for each in limits if each is not None), default=None)


def _check_padding(found: Table, rows: int) -> None:
    passed = found.passed
    place = 2 if callee_name(found.call) == "Embedding" else None
    padding = None if passed is None else passed.value(place, "padding_idx")
    if padding is None or padding.type == "none":
        return
    index = integer(padding)
    if index is None or index >= rows:
        raise NotApplicable(f"padding_idx is {text_of(padding)}, which may not be below {rows}")


def _look_ups(context: FixContext) -> list[Use]:
    found = uses(context)
    for use in found:
        if use.kind == "handed on":
            raise NotApplicable(f"the table is handed on on {use.where}, to an unknown use")
        if use.kind != "look-up":
            raise NotApplicable(f"the whole weight, which would be shorter, is used on {use.where}")
        ids = ids_of(use.node)
        if ids is None or ids.type in ("generator_expression", "list_splat"):
            raise NotApplicable(f"what is looked up on {use.where} cannot be read")
    if not found:
        raise NotApplicable("where the table is looked up cannot be read from the source")
    return found


def _sized(found: Table, value: Node, rows: int) -> TextEdit:
    """A number is replaced; what computes one is bounded, as it may give less one day."""
    text = str(rows) if integer(value) is not None else f"min({text_of(value)}, {rows})"
    return TextEdit(found.source.range_of(value), text)


def _folded(source: SourceText, use: Use) -> list[TextEdit]:
    ids = ids_of(use.node)
    owner = text_of(use.node.child_by_field_name("function"))
    size = f"{owner}.num_embeddings"
    if ids is None or text_of(ids).endswith(f"% {size}"):
        return []
    text = text_of(ids) if ids.type in _PLAIN else f"({text_of(ids)})"
    return [TextEdit(source.range_of(ids), f"{text} % {size}")]
