"""A parsed Python text that can be edited, searched and addressed by line and column."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from tree_sitter import Node, Point, Tree

from gradtracer_server.source.binding import Binding, binding_of
from gradtracer_server.source.canonical import canonical, canonical_node
from gradtracer_server.source.grammar import decode, parse_bytes
from gradtracer_server.source.outline import Memory, Piece, Reading, outline
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.statements import Span, Statement, loose_key
from gradtracer_server.source.text import PlainText, has_lone_return

__all__ = ["Position", "Range", "SourceText", "Statement", "canonical"]

_SMALL = 64 * 1024
"""Bytes that are parsed anew in a few milliseconds."""


class SourceText(PlainText):
    """One version of a text. An edit makes a new one and leaves this one as it was.

    Tree, lines and statements are computed when first asked for.
    """

    def __init__(self, text: str, stale: Tree | None = None, memory: Memory | None = None) -> None:
        super().__init__(text)
        self._stale = stale
        self._memory = memory if memory is not None else Memory()
        self._alike: dict[tuple[str, str | None], list[Statement]] = {}
        self._by_binding: dict[str, dict[Binding, list[Statement]]] = {}

    @classmethod
    def parse(cls, text: str) -> SourceText:
        """The text as Python; broken syntax is no error."""
        return cls(text)

    def edit(self, start: Position, end: Position, new_text: str) -> SourceText:
        """The text with a range replaced; a place beyond the end of a line or text is that end."""
        start, end = sorted((self.clamp(start), self.clamp(end)))
        first, last = self.offset(start), self.offset(end)
        text = self.text[:first] + new_text + self.text[last:]
        tree = self.__dict__.get("tree", self._stale)
        if tree is None or has_lone_return(self.text) or has_lone_return(text):
            return SourceText(text, None, self._memory)
        inserted = new_text.encode("utf-8", "surrogatepass")
        start_byte, start_point = self.byte(first), self.point(start)
        break_at = inserted.rfind(b"\n")
        new_end = Point(
            start_point.row + inserted.count(b"\n"),
            len(inserted) - break_at - 1 if break_at >= 0 else start_point.column + len(inserted),
        )
        stale = tree.copy()
        stale.edit(
            start_byte,
            self.byte(last),
            start_byte + len(inserted),
            start_point,
            self.point(end),
            new_end,
        )
        return SourceText(text, stale, self._memory)

    @cached_property
    def tree(self) -> Tree:
        """The syntax tree."""
        tree = parse_bytes(self.data, self._stale)
        if self._stale is not None and tree.root_node.has_error and len(self.data) <= _SMALL:
            # Recovery from an error depends on what was parsed before, and what is shown must not.
            tree = parse_bytes(self.data)
        self._stale = None
        return tree

    @property
    def root(self) -> Node:
        """The module."""
        return self.tree.root_node

    @property
    def broken(self) -> bool:
        """Whether the text has a syntax error, as it has while someone types."""
        return self.root.has_error

    @property
    def statements(self) -> Iterator[Statement]:
        """Every statement, in the order of the text; none overlaps another."""
        for piece in self._pieces:
            yield from map(piece.statement, piece.readings)

    def statements_of(self, *kinds: str) -> list[Statement]:
        """The statements whose nodes are of some types, in the order of the text."""
        return [
            piece.statement(reading)
            for piece in self._pieces
            for reading in piece.readings
            if reading.kind in kinds
        ]

    @cached_property
    def renamed(self) -> dict[str, str]:
        """What `import ... as name` renamed: the last part of the original name, by the new."""
        found: dict[str, str] = {}
        for statement in self.statements_of("import_statement", "import_from_statement"):
            for child in self.node_of(statement).children_by_field_name("name"):
                alias = child.child_by_field_name("alias")
                name = child.child_by_field_name("name")
                if alias is not None and name is not None:
                    original = decode(name.text or b"").rpartition(".")[2]
                    found[decode(alias.text or b"")] = original
        return found

    def statement_at(self, position: Position) -> Statement | None:
        """The statement around a position."""
        byte = self.byte(self.offset(position))
        index = bisect_right(self._piece_starts, byte) - 1
        if index < 0:
            return None
        piece = self._pieces[index]
        inner = byte - piece.origin.start
        place = bisect_right(piece.readings, inner, key=_start) - 1
        if place < 0 or piece.readings[place].span.end < inner:
            return None
        return piece.statement(piece.readings[place])

    def statements_on(self, line: int) -> list[Statement]:
        """The statements that begin on a line, from the left."""
        found: list[Statement] = []
        for piece in self._pieces[: bisect_right(self._piece_rows, line)][::-1]:
            row = line - piece.origin.row
            first = bisect_left(piece.readings, row, key=_row)
            after = bisect_right(piece.readings, row, key=_row)
            found[:0] = map(piece.statement, piece.readings[first:after])
            if piece.origin.row + piece.readings[0].span.row < line:
                break
        return found

    def statements_like(self, form: str, scope: str | None = None) -> list[Statement]:
        """The statements of a canonical form, in order; all, or those of a scope."""
        known = self._alike.get((form, scope))
        if known is None:
            found = (piece.statement(each) for piece, each in self._by_key.get(loose_key(form), ()))
            known = self._alike[form, scope] = [
                statement
                for statement in found
                if scope in (None, statement.scope) and self.canonical(statement) == form
            ]
        return known

    def statements_in(self, scope: str) -> list[Statement]:
        """The statements that stand directly in a scope, by its qualified name."""
        return self._by_scope.get(scope, [])

    def statements_binding(self, binding: Binding, scope: str) -> list[Statement]:
        """The statements of a scope with a binding, in the order of the text."""
        known = self._by_binding.get(scope)
        if known is None:
            known = self._by_binding[scope] = defaultdict(list)
            for statement in self.statements_in(scope):
                known[binding_of(self.node_of(statement))].append(statement)
        return known.get(binding, [])

    def canonical(self, statement: Statement) -> str:
        """What a formatter does not change of a statement."""
        raw = self.bytes_of(statement)
        form = self._memory.forms.get(raw)
        if form is None:
            form = self._memory.forms[raw] = canonical_node(self.node_of(statement))
        return form

    def calls(self, statement: Statement) -> dict[str, Span]:
        """The calls in a statement by canonical form, the first of each, the outer first."""
        raw = self.bytes_of(statement)
        counted = self._memory.calls.get(raw)
        if counted is None:
            counted = self._memory.calls[raw] = {}
            for call in self.call_nodes(statement):
                span = Span.of(call, call).counted_from(statement.span)
                counted.setdefault(canonical_node(call), span)
        return counted

    def call_nodes(self, statement: Statement) -> list[Node]:
        """The calls in a statement, the outer before the inner."""
        found: list[Node] = []
        pending = [self.node_of(statement)]
        while pending:
            node = pending.pop()
            if node.type == "call":
                found.append(node)
            children = node.named_children
            pending.extend(c for c in reversed(children) if c.start_byte < statement.span.end)
        return found

    def node_of(self, statement: Statement) -> Node:
        """The node of a statement; of a compound one, with its body."""
        start, end = statement.span[:2]
        node = self.root.descendant_for_byte_range(start, end)
        while node is not None and node.type != statement.kind:
            node = node.parent
        return self.root if node is None else node

    def bytes_of(self, statement: Statement) -> bytes:
        """A statement as it stands, in the bytes of `data`."""
        return self.data[statement.span.start : statement.span.end]

    def range_of(self, place: Node | Span) -> Range:
        """Range of a node or span."""
        span = place if isinstance(place, Span) else Span.of(place, place)
        return Range(
            self.position(span.start, span.row, span.column),
            self.position(span.end, span.end_row, span.end_column),
        )

    def lines_reading(self, content: str) -> list[int]:
        """The lines that read so, whatever their indentation and the comment after them."""
        return self._by_content.get(content, [])

    def comment_on(self, line: int) -> Node | None:
        """The comment that a line ends with; what looks like one inside a string is none."""
        if not 0 <= line < len(self.lines) or "#" not in self.lines[line]:
            return None
        end = self.byte(self.offset(Position(line, len(self.lines[line]))))
        node = self.root.descendant_for_byte_range(end - 1, end)
        return node if node is not None and node.type == "comment" else None

    @cached_property
    def _pieces(self) -> list[Piece]:
        return outline(self.root, self.data, self._memory)

    @cached_property
    def _piece_starts(self) -> list[int]:
        return [piece.origin.start + piece.readings[0].span.start for piece in self._pieces]

    @cached_property
    def _piece_rows(self) -> list[int]:
        return [piece.origin.row + piece.readings[0].span.row for piece in self._pieces]

    @cached_property
    def _by_key(self) -> dict[bytes, list[tuple[Piece, Reading]]]:
        found: defaultdict[bytes, list[tuple[Piece, Reading]]] = defaultdict(list)
        for piece in self._pieces:
            for reading in piece.readings:
                found[reading.key].append((piece, reading))
        return dict(found)

    @cached_property
    def _by_scope(self) -> dict[str, list[Statement]]:
        found: defaultdict[str, list[Statement]] = defaultdict(list)
        for statement in self.statements:
            found[statement.scope].append(statement)
        return dict(found)

    @cached_property
    def _by_content(self) -> dict[str, list[int]]:
        found: defaultdict[str, list[int]] = defaultdict(list)
        for number, line in enumerate(self.lines):
            found[line.partition("#")[0].strip()].append(number)
        return dict(found)


def _row(reading: Reading) -> int:
    return reading.span.row


def _start(reading: Reading) -> int:
    return reading.span.start
