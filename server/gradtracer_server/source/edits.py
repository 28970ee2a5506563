"""Edits of a text: made, shown as a diff, and checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import EditConflict, EditRefused
from gradtracer_server.source.index import Range, SourceText


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
    name = str(path).replace("\\", "/").lstrip("/")
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))


def verify(before: str, after: str) -> None:
    """Make sure that an edit leaves no more syntax errors than there were.

    Raises:
        EditRefused: it would.
    """
    had, has = _errors(before), _errors(after)
    if has > had:
        raise EditRefused(
            f"expected at most {had} syntax errors after the edit, got {has}: not made"
        )


def _errors(text: str) -> int:
    count = 0
    pending: list[Node] = [SourceText.parse(text).root]
    while pending:
        node = pending.pop()
        if not node.has_error and not node.is_missing:
            continue
        count += node.is_error or node.is_missing
        pending.extend(node.children)
    return count
