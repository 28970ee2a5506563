"""A text and the places in it: lines, positions, and offsets in code points and bytes."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from itertools import accumulate, count
from operator import add

from tree_sitter import Point

from gradtracer_server.source.grammar import decode, encode
from gradtracer_server.source.position import Position


class PlainText:
    """A text that does not change."""

    def __init__(self, text: str) -> None:
        self.text = text
        """The whole text."""

    @cached_property
    def data(self) -> bytes:
        """What the parser sees. Byte offsets of the tree count in it."""
        return encode(self.text)

    @cached_property
    def lines(self) -> list[str]:
        """The lines, without their line breaks; what editors and Python count as lines."""
        if "\r" not in self.text:
            return self._raw_lines
        return [line[:-1] if line.endswith("\r") else line for line in self._raw_lines]

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
        return self.position_at(byte if self._ascii else len(decode(self.data[:byte])))

    def position_at(self, offset: int) -> Position:
        """The position after so many code points."""
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
        counted = decode(self.data) if has_lone_return(self.text) else self.text
        return counted.split("\n")

    @cached_property
    def _line_starts(self) -> list[int]:
        # Without a function call for each line: every edit of a long text asks for them again.
        ends = accumulate(map(len, self._raw_lines[:-1]), initial=0)
        return list(map(add, ends, count()))

    def point(self, position: Position) -> Point:
        """A position as the parser counts: rows, and columns in bytes."""
        prefix = self.lines[position.line][: position.column]
        return Point(position.line, len(prefix.encode("utf-8", "surrogatepass")))

    def position(self, byte: int, row: int, column: int) -> Position:
        """The position of a byte whose row and column in bytes are known."""
        if self._ascii:
            return Position(row, column)
        return Position(row, len(decode(self.data[byte - column : byte])))


def has_lone_return(text: str) -> bool:
    """Whether a line of it ends in a carriage return alone."""
    return "\r" in text and text.count("\r") != text.count("\r\n")
