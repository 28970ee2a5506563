"""A parsed Python text that can be edited, searched and addressed by line and column."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate

from tree_sitter import Node, Point, Tree

from gradtracer_server.source.canonical import canonical, canonical_node
from gradtracer_server.source.grammar import decode, encode, parse_bytes
from gradtracer_server.source.outline import Memory, Piece, Reading, outline
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.statements import Span, Statement, loose_key

__all__ = ["Position", "Range", "SourceText", "Statement", "canonical"]


class SourceText:
    """One version of a text. An edit makes a new one and leaves this one as it was.

    Tree, lines and statements are computed when first asked for.
    """

    def __init__(self, text: str, stale: Tree | None = None, memory: Memory | None = None) -> None:
        self.text = text
        """The whole text."""
        self._stale = stale
        self._memory = memory if memory is not None else Memory()

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
        if tree is None or _has_lone_return(self.text) or _has_lone_return(text):
            return SourceText(text, None, self._memory)
        inserted = new_text.encode("utf-8", "surrogatepass")
        start_byte, start_point = self.byte(first), self._point(start)
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
            self._point(end),
            new_end,
        )
        return SourceText(text, stale, self._memory)

    @cached_property
    def data(self) -> bytes:
        """What the parser sees. Byte offsets of the tree count in it."""
        return encode(self.text)

    @cached_property
    def tree(self) -> Tree:
        """The syntax tree."""
        tree = parse_bytes(self.data, self._stale)
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

    @cached_property
    def lines(self) -> list[str]:
        """The lines, without their line breaks; what editors and Python count as lines."""
        return [line[:-1] if line.endswith("\r") else line for line in self._raw_lines]

    @property
    def statements(self) -> Iterator[Statement]:
        """Every statement, in the order of the text; none overlaps another."""
        for piece in self._pieces:
            yield from map(piece.statement, piece.readings)

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

    def statements_like(self, form: str) -> list[Statement]:
        """The statements of a canonical form, in the order of the text."""
        alike = (piece.statement(each) for piece, each in self._by_key.get(loose_key(form), ()))
        return [statement for statement in alike if self.canonical(statement) == form]

    def statements_in(self, scope: str) -> list[Statement]:
        """The statements that stand directly in a scope, by its qualified name."""
        return [statement for statement in self.statements if statement.scope == scope]

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
            self._position(span.start, span.row, span.column),
            self._position(span.end, span.end_row, span.end_column),
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

    def clamp(self, position: Position) -> Position:
        """The nearest position that exists."""
        line, column = position
        if line < 0:
            return Position(0, 0)
        if line >= len(self.lines):
            return Position(len(self.lines) - 1, len(self.lines[-1]))
        return Position(line, max(0, min(column, len(self.lines[line]))))

    def offset(self, position: Position) -> int:
        """Code points before a position."""
        line, column = self.clamp(position)
        return self._line_starts[line] + column

    def position_of(self, byte: int) -> Position:
        """The position of a byte of `data`."""
        offset = byte if self._ascii else len(decode(self.data[:byte]))
        line = bisect_right(self._line_starts, offset) - 1
        return self.clamp(Position(line, offset - self._line_starts[line]))

    def byte(self, offset: int) -> int:
        """Bytes before a code point offset."""
        if self._ascii:
            return offset
        return len(self.text[:offset].encode("utf-8", "surrogatepass"))

    @cached_property
    def _ascii(self) -> bool:
        return self.text.isascii()

    @cached_property
    def _raw_lines(self) -> list[str]:
        counted = decode(self.data) if _has_lone_return(self.text) else self.text
        return counted.split("\n")

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *accumulate(len(line) + 1 for line in self._raw_lines[:-1])]

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
    def _by_content(self) -> dict[str, list[int]]:
        found: defaultdict[str, list[int]] = defaultdict(list)
        for number, line in enumerate(self.lines):
            found[line.partition("#")[0].strip()].append(number)
        return dict(found)

    def _point(self, position: Position) -> Point:
        prefix = self.lines[position.line][: position.column]
        return Point(position.line, len(prefix.encode("utf-8", "surrogatepass")))

    def _position(self, byte: int, row: int, column: int) -> Position:
        if self._ascii:
            return Position(row, column)
        return Position(row, len(decode(self.data[byte - column : byte])))


def _has_lone_return(text: str) -> bool:
    return "\r" in text and text.count("\r") != text.count("\r\n")


def _row(reading: Reading) -> int:
    return reading.span.row


def _start(reading: Reading) -> int:
    return reading.span.start
