"""A parsed Python text that can be edited, searched and addressed by line and column."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from functools import cached_property
from itertools import accumulate

from tree_sitter import Node, Point, Tree

from gradtracer_server.source.canonical import canonical
from gradtracer_server.source.grammar import decode, encode, parse_bytes
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.statements import Statement, loose_key, walk

__all__ = ["Position", "Range", "SourceText", "Statement", "canonical"]


class SourceText:
    """One version of a text. An edit makes a new one and leaves this one as it was.

    Tree, lines and statements are computed when first asked for.
    """

    def __init__(self, text: str, stale: Tree | None = None) -> None:
        self.text = text
        """The whole text."""
        self._stale = stale

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
            return SourceText(text)
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
        return SourceText(text, stale)

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

    @cached_property
    def statements(self) -> list[Statement]:
        """Every statement, in the order of the text; none overlaps another."""
        return list(walk(self.root))

    def statement_at(self, position: Position) -> Statement | None:
        """The statement around a position."""
        byte = self.byte(self.offset(position))
        index = bisect_right(self._starts_of_statements, byte) - 1
        if index >= 0 and byte <= self.statements[index].end_byte:
            return self.statements[index]
        return None

    def statements_on(self, line: int) -> list[Statement]:
        """The statements that begin on a line, from the left."""
        return self._by_line.get(line, [])

    def statements_like(self, form: str) -> list[Statement]:
        """The statements of a canonical form, in the order of the text."""
        alike = self._by_key.get(loose_key(form), [])
        return [statement for statement in alike if statement.canonical == form]

    def statements_in(self, scope: str) -> list[Statement]:
        """The statements that stand directly in a scope, by its qualified name."""
        return self._by_scope.get(scope, [])

    def range_of(self, first: Node, last: Node | None = None) -> Range:
        """Range of a node, or from the first node to the last."""
        end = last if last is not None else first
        return Range(
            self._position(first.start_byte, first.start_point),
            self._position(end.end_byte, end.end_point),
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
    def _starts_of_statements(self) -> list[int]:
        return [statement.start_byte for statement in self.statements]

    @cached_property
    def _by_line(self) -> dict[int, list[Statement]]:
        found: defaultdict[int, list[Statement]] = defaultdict(list)
        for statement in self.statements:
            found[statement.line].append(statement)
        return dict(found)

    @cached_property
    def _by_key(self) -> dict[bytes, list[Statement]]:
        found: defaultdict[bytes, list[Statement]] = defaultdict(list)
        for statement in self.statements:
            found[statement.loose_key(self.data)].append(statement)
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

    def _point(self, position: Position) -> Point:
        prefix = self.lines[position.line][: position.column]
        return Point(position.line, len(prefix.encode("utf-8", "surrogatepass")))

    def _position(self, byte: int, point: Point) -> Position:
        if self._ascii:
            return Position(point.row, point.column)
        return Position(point.row, len(decode(self.data[byte - point.column : byte])))


def _has_lone_return(text: str) -> bool:
    return "\r" in text and text.count("\r") != text.count("\r\n")
