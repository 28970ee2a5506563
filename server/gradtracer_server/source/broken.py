"""Finding a statement in a text whose syntax is broken, as it is while someone types.

An open bracket hides the statements after it from the tree. Their lines still read as recorded.
"""

from __future__ import annotations

import re

from gradtracer_server.source.index import SourceText
from gradtracer_server.source.position import Position, Range

_TARGET = re.compile(r"([\w.]+)\s*(?::[^=\n]*)?=(?!=)")


def find_verbatim(text: str, source: SourceText) -> list[Range]:
    """The lines that read exactly as a recorded statement."""
    recorded = [line.rstrip() for line in text.strip().splitlines()]
    found = (_match(recorded, source.lines, line) for line in source.lines_reading(recorded[0]))
    return [each for each in found if each is not None]


def find_target(text: str, source: SourceText, near: int) -> Range | None:
    """A line's content where that line assigns to the same name as a recorded statement."""
    recorded = _TARGET.match(text.strip())
    if recorded is None or not 0 <= near < len(source.lines):
        return None
    line = source.lines[near]
    start = len(line) - len(line.lstrip())
    now = _TARGET.match(line[start:])
    if now is None or now[1] != recorded[1]:
        return None
    return Range(Position(near, start), Position(near, len(line.rstrip())))


def _match(recorded: list[str], lines: list[str], line: int) -> Range | None:
    start = lines[line].find(recorded[0])
    last = line + len(recorded) - 1
    if start < 0 or last >= len(lines):
        return None
    between = zip(recorded[1:-1], lines[line + 1 : last], strict=True)
    if any(before != now.rstrip() for before, now in between):
        return None
    end = start + len(recorded[0]) if last == line else len(recorded[-1])
    if last > line and not lines[last].startswith(recorded[-1]):
        return None
    rest = lines[last][end:].lstrip()
    if rest and not rest.startswith(("#", ";")):
        return None
    return Range(Position(line, start), Position(last, end))
