"""Where the lines of an opened text are after edits, by arithmetic alone."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from gradtracer_server.source.position import Position

_BREAK = re.compile(r"\r\n|\n|\r")


class LineShift:
    """Follows the first character of each line through edits.

    Its memory is two numbers per line of the opened text, however many edits come. An edit that
    adds no line costs as much as the lines it touches; another, as much as the lines below it.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = list(range(len(lines)))
        self._columns = [len(line) - len(line.lstrip()) for line in lines]

    def current(self, line: int) -> int:
        """Where a line of the opened text is now; one that was deleted, where it stood."""
        if 0 <= line < len(self._lines):
            return self._lines[line]
        return line

    def apply(self, start: Position, end: Position, new_text: str) -> None:
        """Take account of an edit."""
        inserted = _BREAK.split(new_text)
        added, tail = len(inserted) - 1, len(inserted[-1])
        delta = added - (end.line - start.line)
        first = bisect_left(self._lines, start.line)
        after = bisect_right(self._lines, end.line)
        for index in range(first, after):
            place = Position(self._lines[index], self._columns[index])
            if place >= end:
                if place.line == end.line:
                    base = start.column if added == 0 else 0
                    self._columns[index] += base + tail - end.column
                self._lines[index] += delta
            elif place >= start:
                self._lines[index] = start.line + min(place.line - start.line, added)
                self._columns[index] = start.column if self._lines[index] == start.line else 0
        if delta:
            self._lines[after:] = [line + delta for line in self._lines[after:]]
