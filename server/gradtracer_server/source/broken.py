"""Finding a statement in a text whose syntax is broken, as it is while someone types.

An open bracket hides the statements after it from the tree. Their lines still read as recorded.
"""

from __future__ import annotations

import re

from gradtracer_server.source.index import SourceText
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.statements import MODULE_SCOPE

_DEFINITION = re.compile(r"(\s*)(?:async\s+)?(class|def)\s+(\w+)")
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


def scope_by_indentation(lines: list[str], line: int) -> str:
    """Qualified name of the scope that a line stands in, as far as indentation tells it."""
    parts: list[tuple[str, str]] = []
    within = _indentation(lines[line])
    for above in reversed(lines[:line]):
        if within == 0:
            break
        found = _DEFINITION.match(above)
        if found is not None and len(found[1]) < within:
            within = len(found[1])
            parts.append((found[2], found[3]))
    scope = ""
    before = ""
    for kind, name in reversed(parts):
        joint = "" if not scope else ".<locals>." if before == "def" else "."
        scope, before = f"{scope}{joint}{name}", kind
    return scope or MODULE_SCOPE


def has_scope(lines: list[str], scope: str) -> bool:
    """Whether some line defines the outermost part of a scope."""
    outermost = scope.partition(".")[0]
    return any(
        found[3] == outermost for line in lines if (found := _DEFINITION.match(line)) is not None
    )


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


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
