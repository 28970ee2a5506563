"""A statement of a parsed text, and the scope it stands in.

A statement here is what one line of a stack trace points at: a simple statement, a decorator, or
the header of a compound statement.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tree_sitter import Node

MODULE_SCOPE = "<module>"
"""Qualified name of a file's own scope, as in Python's code objects."""

_INNER_SCOPE = re.compile(r"(?:\.<locals>)?\.?<(?:listcomp|setcomp|dictcomp|genexpr|lambda)>$")
_STYLE = b" \t\r\n\f\v,'\"()\\"
_NEEDS_TREE = re.compile(rb"#|(?<!\w)[A-Za-z]{1,2}[\"']")


class Span(NamedTuple):
    """A piece of a text: bytes, rows, and columns in bytes, all from 0."""

    start: int
    end: int
    row: int
    column: int
    end_row: int
    end_column: int

    @classmethod
    def of(cls, first: Node, last: Node) -> Span:
        """From the start of one node to the end of another."""
        return cls(first.start_byte, last.end_byte, *first.start_point, *last.end_point)

    def counted_from(self, origin: Span) -> Span:
        """The same piece, counted from the start of one that holds it."""
        # Only what stands on the origin's own row has its column counted from it.
        return Span(
            self.start - origin.start,
            self.end - origin.start,
            self.row - origin.row,
            self.column - (origin.column if self.row == origin.row else 0),
            self.end_row - origin.row,
            self.end_column - (origin.column if self.end_row == origin.row else 0),
        )

    def placed_at(self, origin: Span) -> Span:
        """The reverse of `counted_from`."""
        return Span(
            self.start + origin.start,
            self.end + origin.start,
            self.row + origin.row,
            self.column + (origin.column if self.row == 0 else 0),
            self.end_row + origin.row,
            self.end_column + (origin.column if self.end_row == 0 else 0),
        )


START = Span(0, 0, 0, 0, 0, 0)
"""The start of a text."""


class Statement(NamedTuple):
    """One statement of one text."""

    span: Span
    """Where it stands; of a compound statement, its header with the colon."""
    scope: str
    """Qualified name of the scope it stands in."""
    kind: str
    """Type of its node."""
    key: bytes
    """A cheap key: equal for statements of equal canonical form, seldom for others."""

    @property
    def line(self) -> int:
        """Its first line, from 0."""
        return self.span.row


def loose_key(canonical: str) -> bytes:
    """The cheap key of a canonical form."""
    return _bare(canonical.encode("utf-8", "surrogatepass"))


def cheap_key(raw: bytes, *, compound: bool) -> bytes | None:
    """The key of a statement's bytes; None where only the canonical form tells it."""
    if _NEEDS_TREE.search(raw):
        return None
    if compound:
        raw = raw[:-1].removeprefix(b"el" if raw.startswith(b"elif") else b"")
    return _bare(raw)


def _bare(raw: bytes) -> bytes:
    return raw.translate(None, _STYLE).lower()


def enclosing_scope(qualname: str) -> str:
    """Scope of the statement that holds a comprehension or lambda; other scopes are themselves."""
    while True:
        outer = _INNER_SCOPE.sub("", qualname)
        if outer == qualname:
            return qualname or MODULE_SCOPE
        qualname = outer


def scope_inside(scope: str, name: str, *, in_function: bool) -> str:
    """Qualified name of a definition in a scope."""
    if scope == MODULE_SCOPE:
        return name
    return f"{scope}.<locals>.{name}" if in_function else f"{scope}.{name}"
