"""Give a table the width that its measured rank needs."""

from __future__ import annotations

import re
from weakref import WeakKeyDictionary

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import (
    ancestor,
    arguments,
)
from gradtracer_server.fixes.literals import Literal, follow, integer
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.tables import CONSTRUCTORS, Table, is_table, table
from gradtracer_server.source.binding import binding_of
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText, Statement

NAME = "reduce-embedding-dim"
TITLE = "Reduce embedding_dim"

_DIM_INDEX = 1
_NUMBER = re.compile(rb"(?<![\w.])\d\w*(?![\w.])")


def plan(context: FixContext) -> Plan:
    """Edit the number that sets `embedding_dim`, wherever it stands."""
    dim, found, literal = _target(context)
    source, call = found.source, found.call
    in_place = not literal.via
    others = _siblings(source, call, literal) if in_place else []
    nodes = [literal.node, *(node for _, node in others)]
    title = f"Reduce embedding_dim from {literal.value} to {dim}"
    if others:
        title += f", also of {_listed([name for name, _ in others])}"
    if not in_place:
        file = "" if literal.path == found.path else f" of {literal.path.name}"
        title += f": {literal.via} on line {literal.node.start_point.row + 1}{file}"
    elif same := _other_lines(source, call, literal.value, nodes):
        title += f"; {literal.value} also stands on line {', '.join(same)}"
    edits = [TextEdit(literal.source.range_of(node), str(dim)) for node in nodes]
    return Plan(title, {literal.path: (literal.source, edits)})


def locate(context: FixContext) -> None:
    """Find the number, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> tuple[int, Table, Literal]:
    """The width to set, the call that builds the table, and the number that sets its width."""
    dim = _offered_dim(context)
    found = table(context)
    literal = follow(_dim_argument(found.call), found.place(context))
    if literal.value <= dim or literal.value < _measured_dim(context):
        raise AlreadyApplied(f"embedding_dim is {literal.value} already; {dim} was measured")
    return dim, found, literal


def _offered_dim(context: FixContext) -> int:
    dim = context.offer.parameters.get("embedding_dim") if context.offer is not None else None
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
        raise NotApplicable(f"expected the measured embedding_dim, a positive integer, got {dim!r}")
    return dim


def _measured_dim(context: FixContext) -> int:
    """The width that the run had; a text that sets less was edited since. 0 when not told."""
    measured = context.offer.parameters.get("measured_dim") if context.offer is not None else None
    return measured if isinstance(measured, int) and not isinstance(measured, bool) else 0


def _dim_argument(call: Node) -> Node:
    passed = arguments(call)
    value = None if passed is None else passed.value(_DIM_INDEX, "embedding_dim")
    if value is None:
        raise NotApplicable("embedding_dim is not passed by name or place; it may be unpacked")
    return value


def _siblings(source: SourceText, call: Node, literal: Literal) -> list[tuple[str, Node]]:
    """Tables of the same class, or else scope, of the same width: they meet in products.

    Each with the name it is known by and the literal of its width.
    """
    around = _surroundings(call)
    known = _tables_of.setdefault(source, {})
    place = (around.start_byte, around.end_byte)
    if place not in known:
        known[place] = _tables(source, around)
    same = known[place].get(int(literal.value), [])
    start = literal.node.start_byte
    return [(name, value) for name, value in same if value.start_byte != start]


_Tables = dict[int, list[tuple[str, Node]]]
_tables_of: WeakKeyDictionary[SourceText, dict[tuple[int, int], _Tables]] = WeakKeyDictionary()


def _tables(source: SourceText, around: Node) -> _Tables:
    """The tables built in a piece of source whose width is a literal, by that width."""
    names = {name for name, original in source.renamed.items() if original in CONSTRUCTORS}
    named = re.compile(rb"\b(?:%s)\b" % "|".join(CONSTRUCTORS | names).encode())
    statements = {
        statement.span: statement
        for match in named.finditer(source.data, around.start_byte, around.end_byte)
        if (statement := source.statement_at(source.position_of(match.start()))) is not None
    }
    found: _Tables = {}
    for statement in statements.values():
        for call in source.call_nodes(statement):
            passed = arguments(call) if is_table(call, source) else None
            value = None if passed is None else passed.value(_DIM_INDEX, "embedding_dim")
            width = None if value is None else integer(value)
            if value is not None and width is not None:
                found.setdefault(width, []).append((_known_as(statement, source), value))
    return found


def _known_as(statement: Statement, source: SourceText) -> str:
    binding = binding_of(source.node_of(statement))
    name = binding.name.replace(" ", "").removeprefix("self.")
    return name if binding.names_one_thing and name else f"line {statement.line + 1}"


def _surroundings(call: Node) -> Node:
    """The class around a call; outside any, the function; else the module."""
    around = ancestor(call, "class_definition") or ancestor(call, "function_definition", "module")
    return around if around is not None else call


def _other_lines(source: SourceText, call: Node, value: float, edited: list[Node]) -> list[str]:
    """At most three other lines of the class that hold the same number, from 1."""
    around = _surroundings(call)
    edited_at = {node.start_byte for node in edited}
    lines: dict[str, None] = {}
    for match in _NUMBER.finditer(source.data, around.start_byte, around.end_byte):
        if match.start() in edited_at:
            continue
        node = source.root.descendant_for_byte_range(*match.span())
        if node is not None and integer(node) == value:
            lines[str(node.start_point.row + 1)] = None
        if len(lines) == 3:
            break
    return list(lines)


def _listed(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
