"""`# gradtracer: ignore[TYPE]`: the comment that silences a diagnosis on its own line."""

from __future__ import annotations

import re

from gradtracer_server.source.anchors import Anchor
from gradtracer_server.source.grammar import decode
from gradtracer_server.source.index import Position, SourceText

MARK = re.compile(r"#\s*gradtracer:\s*ignore(?![\w-])(?:\s*\[(?P<types>[^\]]*)\])?")
"""The mark in a comment; without a list it means every type."""


def suppressed(source: SourceText, anchor: Anchor, type: str) -> bool:
    """Whether a comment on the first or last line of the statement silences a type."""
    if anchor.range is None:
        return False
    lines = {anchor.range.start.line, anchor.range.end.line}
    return any(type in types or "*" in types for line in lines if (types := ignored(source, line)))


def ignored(source: SourceText, line: int) -> frozenset[str]:
    """The types that a line's comment silences; `*` for all."""
    comment = source.comment_on(line)
    if comment is None:
        return frozenset()
    types: set[str] = set()
    for mark in MARK.finditer(decode(comment.text or b"")):
        listed = mark["types"]
        types.update({"*"} if listed is None else (each.strip() for each in listed.split(",")))
    return frozenset(types)


def end_of_list(source: SourceText, line: int) -> tuple[Position, bool] | None:
    """Where another type fits into a line's list, and whether one stands there already."""
    comment = source.comment_on(line)
    mark = None if comment is None else MARK.search(decode(comment.text or b""))
    if comment is None or mark is None or mark["types"] is None:
        return None
    start = source.range_of(comment).start
    listed = mark["types"].rstrip().rstrip(",")
    return Position(line, start.column + mark.start("types") + len(listed)), bool(listed.strip())
