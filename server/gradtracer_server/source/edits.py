"""Edits of a text: made, shown as a diff, and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Literal

from tree_sitter import Node

from gradtracer_server.exceptions import EditConflict, EditRefused
from gradtracer_server.source.index import Range, SourceText

_CONTEXT = 3
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_Opcode = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]


@dataclass(frozen=True)
class TextEdit:
    """New text for a range."""

    range: Range
    """What is replaced; empty for an insertion."""
    new_text: str
    """What stands there then."""


def apply_edits(text: str, edits: Iterable[TextEdit]) -> str:
    """The text after all edits, whose ranges are all those of the text before.

    Raises:
        EditConflict: two edits overlap.
    """
    source = SourceText.parse(text)
    places = sorted(
        (source.offset(edit.range.start), source.offset(edit.range.end), edit.new_text)
        for edit in edits
    )
    parts: list[str] = []
    done = 0
    for start, end, new_text in places:
        if start < done:
            raise EditConflict(f"expected edits that do not overlap, got two around offset {start}")
        parts.extend((text[done:start], new_text))
        done = max(start, end)
    return "".join((*parts, text[done:]))


def unified_diff(path: Path | str, before: str, after: str) -> str:
    """The difference in the form that `patch` and `git apply` read; empty when there is none."""
    old, new = _LINE.findall(before), _LINE.findall(after)
    if old == new:
        return ""
    name = str(path).replace("\\", "/").lstrip("/")
    lines = [f"--- a/{name}\n", f"+++ b/{name}\n"]
    for hunk in _Difference(old, new).get_grouped_opcodes(_CONTEXT):
        (_, i1, _, j1, _), (_, _, i2, _, j2) = hunk[0], hunk[-1]
        lines.append(f"@@ -{_place(i1, i2)} +{_place(j1, j2)} @@\n")
        for tag, start, end, new_start, new_end in hunk:
            if tag == "equal":
                lines.extend(_marked(" ", old[start:end]))
            else:
                lines.extend(_marked("-", old[start:end]))
                lines.extend(_marked("+", new[new_start:new_end]))
    return "".join(lines)


def line_edits(before: str, after: str) -> list[TextEdit]:
    """The edits of whole lines that make one text of another; the rest is not touched."""
    source = SourceText.parse(before)
    old, new = _LINE.findall(before), _LINE.findall(after)
    starts = [0, *accumulate(map(len, old))]
    return [
        TextEdit(
            Range(source.position_at(starts[i1]), source.position_at(starts[i2])),
            "".join(new[j1:j2]),
        )
        for tag, i1, i2, j1, j2 in _Difference(old, new).get_opcodes()
        if tag != "equal"
    ]


class _Difference(SequenceMatcher[str]):
    """Compares only what lies between the lines that are plainly the same."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        self._head = _same_at_start(old, new)
        tail = _same_at_start(old[self._head :][::-1], new[self._head :][::-1])
        self._ends = len(old) - tail, len(new) - tail, len(old), len(new)
        super().__init__(None, old[self._head : self._ends[0]], new[self._head : self._ends[1]])

    def get_opcodes(self) -> list[_Opcode]:
        """The changes, counted in the whole texts."""
        head = self._head
        changed = super().get_opcodes()
        old_end, new_end, old_length, new_length = self._ends
        return [
            ("equal", 0, head, 0, head),
            *((tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in changed),
            ("equal", old_end, old_length, new_end, new_length),
        ]


def _same_at_start(one: list[str], other: list[str]) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _place(start: int, end: int) -> str:
    """A range of lines as a hunk names it; an empty one by the line before it."""
    count = end - start
    return f"{start + 1}" if count == 1 else f"{start + (count > 0)},{count}"


def _marked(mark: str, lines: list[str]) -> list[str]:
    ends = ("" if line.endswith("\n") else "\n\\ No newline at end of file\n" for line in lines)
    return [f"{mark}{line}{end}" for line, end in zip(lines, ends, strict=True)]


def verify(before: str, after: str) -> None:
    """Make sure that an edit leaves no more syntax errors than there were.

    Raises:
        EditRefused: it would.
    """
    had, has = _had_errors(before), syntax_errors(after)
    if has > had:
        raise EditRefused(
            f"expected at most {had} syntax errors after the edit, got {has}: not made"
        )


@lru_cache(maxsize=2)
def _had_errors(text: str) -> int:
    """As `syntax_errors`, for a text that many fixes start from."""
    return syntax_errors(text)


def syntax_errors(text: str) -> int:
    """How many places of a text do not parse, or lack something."""
    count = 0
    pending: list[Node] = [SourceText.parse(text).root]
    while pending:
        node = pending.pop()
        if not node.has_error and not node.is_missing:
            continue
        count += node.is_error or node.is_missing
        pending.extend(node.children)
    return count
