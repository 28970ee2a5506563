"""The statements of a syntax tree, with what was read of unchanged functions used again.

After an edit nearly every function reads as before. What was found in it is kept under its bytes
and counted from its start, so that it holds wherever the function has moved to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tree_sitter import Node

from gradtracer_server.source.canonical import COMPOUND, canonical_node
from gradtracer_server.source.statements import (
    MODULE_SCOPE,
    START,
    Span,
    Statement,
    cheap_key,
    loose_key,
    scope_inside,
)

_TRANSPARENT = frozenset(
    {
        "block",
        "decorated_definition",
        "else_clause",
        "ERROR",
        "finally_clause",
        "module",
        "try_statement",
    }
)
_DEFINITIONS = frozenset({"class_definition", "function_definition"})
_EXTRAS = frozenset({"comment", "line_continuation"})


class Reading(NamedTuple):
    """A statement as it was read in a function."""

    span: Span
    """Counted from the function's start."""
    path: str | None
    """Its scope, from the function's name on; None for the function's own header."""
    kind: str
    """Type of its node."""
    key: bytes
    """See `Statement.key`."""


class Piece(NamedTuple):
    """Consecutive statements, and what they are counted and named from."""

    origin: Span
    """What their spans are counted from."""
    outer: str
    """Scope that the path of each begins in."""
    readings: list[Reading]
    """The statements; never empty."""

    def statement(self, reading: Reading) -> Statement:
        """One of them, in its place."""
        scope = self.outer
        if reading.path is not None:
            scope = scope_inside(scope, reading.path, in_function=False)
        return Statement(reading.span.placed_at(self.origin), scope, reading.kind, reading.key)


@dataclass
class Memory:
    """What was read of texts that came from one another by edits."""

    functions: dict[bytes, list[Reading]] = field(default_factory=dict[bytes, list[Reading]])
    """Statements of a function by its bytes."""
    forms: dict[bytes, str] = field(default_factory=dict[bytes, str])
    """Canonical form of a statement by its bytes."""
    calls: dict[bytes, dict[str, Span]] = field(default_factory=dict[bytes, dict[str, Span]])
    """Calls in a statement by its bytes: the first of each canonical form."""
    kept: int = 0
    """Statements in `functions`."""

    def trim(self, wanted: int) -> None:
        """Forget all once it is several times what a text of so many statements needs."""
        if self.kept > 4 * wanted + 4000:
            self.functions.clear()
            self.kept = 0
        for table in (self.forms, self.calls):
            if len(table) > 4 * wanted + 4000:
                table.clear()


def outline(root: Node, data: bytes, memory: Memory) -> list[Piece]:
    """Every statement, in the order of the text; none overlaps another."""
    pieces: list[Piece] = []
    pending: list[tuple[Node, str]] = [(root, MODULE_SCOPE)]
    while pending:
        node, scope = pending.pop()
        kind = node.type
        if kind == "function_definition":
            readings = _function(node, data, memory)
            pieces.append(Piece(Span.of(node, node), scope, readings))
            continue
        statement, inside = _step(node, kind)
        if statement is not None:
            span = Span.of(node, statement)
            reading = Reading(span, None, kind, _key(node, span, kind, data))
            if pieces and pieces[-1].origin is START and pieces[-1].outer == scope:
                pieces[-1].readings.append(reading)
            else:
                pieces.append(Piece(START, scope, [reading]))
        if kind == "class_definition":
            scope = scope_inside(scope, _name(node), in_function=False)
        pending.extend((child, scope) for child in reversed(inside))
    memory.trim(sum(len(piece.readings) for piece in pieces))
    return pieces


def begin_statements(root: Node) -> Iterator[Node]:
    """The nodes that begin a statement, in the order of the text."""
    pending = [root]
    while pending:
        node = pending.pop()
        last, inside = _step(node, node.type)
        if last is not None:
            yield node
        pending.extend(reversed(inside))


def _function(function: Node, data: bytes, memory: Memory) -> list[Reading]:
    """The statements of a function, its header first."""
    raw = data[function.start_byte : function.end_byte]
    known = memory.functions.get(raw)
    if known is not None:
        return known
    origin = Span.of(function, function)
    readings: list[Reading] = []
    pending: list[tuple[Node, str | None, bool]] = [(function, None, False)]
    while pending:
        node, path, in_function = pending.pop()
        kind = node.type
        last, inside = _step(node, kind)
        if last is not None:
            span = Span.of(node, last)
            key = _key(node, span, kind, data)
            readings.append(Reading(span.counted_from(origin), path, kind, key))
        if kind in _DEFINITIONS:
            name = _name(node)
            path = name if path is None else scope_inside(path, name, in_function=in_function)
            in_function = kind == "function_definition"
        pending.extend((child, path, in_function) for child in reversed(inside))
    if not function.has_error:
        memory.functions[raw] = readings
        memory.kept += len(readings)
    return readings


def _step(node: Node, kind: str) -> tuple[Node | None, list[Node]]:
    """The node that ends the statement a node begins, if it does; and the nodes to go into."""
    if kind in _TRANSPARENT:
        children = node.named_children
        return None, [c for c in children if _is_whole(c.type)] if kind == "ERROR" else children
    if kind in _EXTRAS:
        return None, []
    if kind not in COMPOUND:
        return node, []
    children = node.children
    for index, child in enumerate(children):
        if child.type == ":":
            return child, [each for each in children[index + 1 :] if each.is_named]
    return None, [each for each in children if each.type == "block"]


def _is_whole(kind: str) -> bool:
    """Whether a node among the ruins of a syntax error is a statement all the same."""
    return (
        kind in COMPOUND
        or kind in _TRANSPARENT
        or kind == "decorator"
        or kind.endswith("_statement")
    )


def _key(node: Node, span: Span, kind: str, data: bytes) -> bytes:
    key = cheap_key(data[span.start : span.end], compound=kind in COMPOUND)
    return loose_key(canonical_node(node)) if key is None else key


def _name(node: Node) -> str:
    name = node.child_by_field_name("name")
    return "" if name is None else (name.text or b"").decode("utf-8", "replace")
