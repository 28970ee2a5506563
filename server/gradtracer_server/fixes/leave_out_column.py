"""Leave a column out of training, where the columns are chosen.

CatBoost is told by a parameter, and goes on taking the whole table when it predicts. For the other
libraries the table itself must lack the column, in training and prediction alike: it is taken out
where the columns are listed, dropped or read.
"""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.booster_call import BoosterCall, given_in, key_of, training_call
from gradtracer_server.fixes.calls import arguments, text_of
from gradtracer_server.fixes.chosen_columns import Chosen, chosen_columns, listed_columns
from gradtracer_server.fixes.insertion import insert, new_item
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import Range, SourceText

NAME = "leave-out-column"
TITLE = "Leave the column out"

_IGNORED = "ignored_features"
_JOINED = frozenset({"comparison_operator", "not_operator", "call", "parenthesized_expression"})
"""Conditions that `and` joins to another as they stand."""
_COLUMN_AXIS = frozenset({"1", "'columns'", '"columns"'})


def plan(context: FixContext) -> Plan:
    """Take the column out of what is trained on."""
    column, library = _wanted(context)
    call = training_call(context.diagnosis.site, context.frames)
    if library == "catboost":
        return _ignore(call, column)
    chosen = chosen_columns(call)
    source = chosen.place.source
    edits, how = _EDITS[chosen.kind](chosen, column)
    others = sorted(_lines_naming(source, column) - {edit.range.start.line + 1 for edit in edits})
    also = f"; line {', '.join(map(str, others[:3]))} names it too" if others else ""
    return Plan(f"Leave {column} out: {how}{also}", {chosen.place.path: (source, edits)})


def locate(context: FixContext) -> None:
    """Find the place, and go no further. Raises as `plan` does."""
    plan(context)


def _wanted(context: FixContext) -> tuple[str, str]:
    given = context.offer.parameters if context.offer is not None else {}
    column = given.get("column")
    if not isinstance(column, str) or not column:
        raise NotApplicable(f"expected the name of a column, got {column!r}")
    return column, str(given.get("library", ""))


def _ignore(call: BoosterCall, column: str) -> Plan:
    for part in call.parts:
        for name, value in given_in(part):
            if name != _IGNORED:
                continue
            listed = listed_columns(value, part.place)
            if listed is None:
                raise NotApplicable(f"{_IGNORED} is given on line {_line(value)}, and no list")
            if column in _names(listed.node):
                raise AlreadyApplied(f"{_IGNORED} has {column} already")
            edits = new_item(listed.source, listed.node, _quoted(column, listed.node))
            return Plan(
                f"Leave {column} out: add it to {_IGNORED} on line {_line(listed.node)}",
                {listed.path: (listed.source, edits)},
            )
    if len(call.parts) < 2:
        raise NotApplicable("the parameters of the call that trained cannot be read")
    part = call.parts[1]
    named = f"[{_quoted(column, part.node)}]"
    quote = named[1]
    item = f"{quote}{_IGNORED}{quote}: {named}" if part.is_dictionary else f"{_IGNORED}={named}"
    return Plan(
        f"Leave {column} out: add {_IGNORED} on line {_line(part.node)}",
        {part.place.path: (part.place.source, new_item(part.place.source, part.node, item))},
    )


def _from_list(chosen: Chosen, column: str) -> tuple[list[TextEdit], str]:
    source = chosen.place.source
    _check_not_made(source, column)
    items = [each for each in chosen.node.named_children if each.type != "comment"]
    at = [i for i, each in enumerate(items) if each.type == "string" and _is(each, column)]
    if not at:
        if all(each.type == "string" for each in items):
            raise AlreadyApplied(f"{column} is not among the columns on line {_line(chosen.node)}")
        raise NotApplicable(f"{column} is not written in the list on line {_line(chosen.node)}")
    if len(items) < 2:
        raise NotApplicable(f"{column} is the only column on line {_line(chosen.node)}")
    return [_removal(source, items, at[0])], f"take it from the list on line {_line(items[at[0]])}"


def _removal(source: SourceText, items: list[Node], at: int) -> TextEdit:
    """Without an item, and the comma and comment that belong to it."""
    if at + 1 < len(items):
        start, end = items[at].start_byte, items[at + 1].start_byte
    else:
        start, end = items[at - 1].end_byte, items[at].end_byte
        between = items[at - 1].next_sibling
        while between is not None and between.start_byte < items[at].start_byte:
            if between.type == "comment":
                start = between.end_byte
            between = between.next_sibling
    return TextEdit(Range(source.position_of(start), source.position_of(end)), "")


def _from_drop(chosen: Chosen, column: str) -> tuple[list[TextEdit], str]:
    source, line = chosen.place.source, _line(chosen.node)
    _check_not_made(source, column)
    passed = arguments(chosen.node)
    dropped = None if passed is None else passed.value(None, "columns")
    if dropped is None and passed is not None:
        axis = text_of(passed.value(1, "axis"))
        dropped = passed.value(0, "labels") if axis in _COLUMN_AXIS else None
    if dropped is None:
        raise NotApplicable(f"drop(...) on line {line} drops no columns that can be read")
    how = f"drop it too on line {line}"
    if dropped.type == "string":
        if _is(dropped, column):
            raise AlreadyApplied(f"{column} is dropped on line {line} already")
        both = f"[{text_of(dropped)}, {_quoted(column, dropped)}]"
        return [TextEdit(source.range_of(dropped), both)], how
    listed = listed_columns(dropped, chosen.place)
    if listed is None or listed.source is not source:
        raise NotApplicable(f"what drop(...) drops on line {line} is no list in this file")
    if any(_is(each, column) for each in listed.node.named_children if each.type == "string"):
        raise AlreadyApplied(f"{column} is dropped on line {line} already")
    return new_item(source, listed.node, _quoted(column, listed.node)), how


def _from_reading(chosen: Chosen, column: str) -> tuple[list[TextEdit], str]:
    source = chosen.place.source
    _check_not_made(source, column)
    text = f".drop(columns=[{_quoted(column, chosen.node)}])"
    return [insert(source, chosen.node.end_byte, text)], (
        f"drop it once the table is read on line {_line(chosen.node)}"
    )


def _from_dummies(chosen: Chosen, column: str) -> tuple[list[TextEdit], str]:
    """Made from a category or passed on: in the table that comes out, it has this name."""
    edits, _ = _from_reading(chosen, column)
    return edits, f"drop it from what get_dummies(...) gives on line {_line(chosen.node)}"


def _from_comprehension(chosen: Chosen, column: str) -> tuple[list[TextEdit], str]:
    """One condition more."""
    source, node = chosen.place.source, chosen.node
    _check_not_made(source, column)
    name, loop, *conditions = [each for each in node.named_children if each.type != "comment"]
    line = _line(node)
    if name.type != "identifier" or text_of(loop.child_by_field_name("left")) != text_of(name):
        raise NotApplicable(f"the columns on line {line} are not taken over by their names")
    if any(each.type != "if_clause" for each in conditions):
        raise NotApplicable(f"the columns on line {line} come out of several loops")
    if any(_is(each, column) for clause in conditions for each in _strings(clause)):
        raise AlreadyApplied(f"{column} is named in the conditions on line {line} already")
    unequal = f"{text_of(name)} != {_quoted(column, node)}"
    last = conditions[-1] if conditions else None
    joins = last is not None and last.named_children[-1].type in _JOINED
    text = f" and {unequal}" if joins else f" if {unequal}"
    return [insert(source, (last or loop).end_byte, text)], f"by a condition on line {line}"


_EDITS = {
    "list": _from_list,
    "comprehension": _from_comprehension,
    "drop": _from_drop,
    "read": _from_reading,
    "dummies": _from_dummies,
}


def _check_not_made(source: SourceText, column: str) -> None:
    """A column that the script itself makes is to be left out there."""
    pending = [source.root]
    while pending:
        node = pending.pop()
        left = node.child_by_field_name("left")
        if node.type == "assignment" and left is not None and left.type == "subscript":
            keys = left.children_by_field_name("subscript")
            if keys and keys[-1].type == "string" and _is(keys[-1], column):
                raise NotApplicable(f"{column} is made on line {_line(node)}: leave that line out")
        pending.extend(node.named_children)


def _lines_naming(source: SourceText, column: str) -> set[int]:
    return {_line(node) for node in _strings(source.root) if _is(node, column)}


def _strings(root: Node) -> Iterator[Node]:
    pending = [root]
    while pending:
        node = pending.pop()
        if node.type == "string":
            yield node
        pending.extend(node.named_children)


def _names(listed: Node) -> list[str]:
    return [key_of(each) for each in listed.named_children if each.type == "string"]


def _is(string: Node, column: str) -> bool:
    """Whether a string names the column; LightGBM has underscores for the spaces in names."""
    return column in (name := key_of(string), name.replace(" ", "_"))


def _quoted(column: str, near: Node) -> str:
    """The name as a string, in the quotes that are used nearby."""
    text = text_of(near)
    quote = "'" if "'" in text and '"' not in text else '"'
    plain = column.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{plain}{quote}"


def _line(node: Node) -> int:
    return node.start_point.row + 1
