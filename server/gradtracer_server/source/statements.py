"""The statements of a syntax tree, each with the scope it stands in.

A statement here is what one line of a stack trace points at: a simple statement, a decorator, or
the header of a compound statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tree_sitter import Node

from gradtracer_server.source.canonical import COMPOUND, canonical_node

MODULE_SCOPE = "<module>"
"""Qualified name of a file's own scope, as in Python's code objects."""

_TRANSPARENT = frozenset(
    {
        "block",
        "decorated_definition",
        "else_clause",
        "ERROR",
        "finally_clause",
        "module",
        "try_statement",
    }
)
_INNER_SCOPE = re.compile(r"(?:\.<locals>)?\.?<(?:listcomp|setcomp|dictcomp|genexpr|lambda)>$")
_STYLE = b" \t\r\n\f\v,'\"()\\"
_NEEDS_TREE = re.compile(rb"#|(?<![\w])[uU][\"']")


class Statement:
    """One statement of one tree."""

    __slots__ = (
        "_calls",
        "_canonical",
        "_forms",
        "end_byte",
        "last",
        "node",
        "scope",
        "start_byte",
    )

    def __init__(self, node: Node, last: Node, scope: str) -> None:
        self.node = node
        """Its node: of a compound statement, with the body."""
        self.last = last
        """The node that ends its range: the colon of a header, else `node` itself."""
        self.scope = scope
        """Qualified name of the scope it stands in."""
        self.start_byte = node.start_byte
        self.end_byte = last.end_byte
        self._canonical: str | None = None
        self._calls: list[Node] | None = None
        self._forms: dict[str, Node] | None = None

    @property
    def line(self) -> int:
        """Its first line, from 0."""
        return self.node.start_point.row

    @property
    def column(self) -> int:
        """Bytes before it on its first line."""
        return self.node.start_point.column

    @property
    def canonical(self) -> str:
        """What a formatter does not change of it."""
        if self._canonical is None:
            self._canonical = canonical_node(self.node)
        return self._canonical

    @property
    def calls(self) -> list[Node]:
        """The calls in it, the outer before the inner."""
        if self._calls is None:
            self._calls = []
            pending = [self.node]
            while pending:
                node = pending.pop()
                if node.start_byte >= self.end_byte:
                    continue
                if node.type == "call":
                    self._calls.append(node)
                pending.extend(reversed(node.named_children))
        return self._calls

    def call_like(self, form: str) -> Node | None:
        """The first call in it of a canonical form."""
        if self._forms is None:
            self._forms = {}
            for call in self.calls:
                self._forms.setdefault(canonical_node(call), call)
        return self._forms.get(form)

    def loose_key(self, data: bytes) -> bytes:
        """A cheap key: equal for statements of equal canonical form, seldom for others."""
        raw = data[self.start_byte : self.end_byte]
        if _NEEDS_TREE.search(raw):
            return loose_key(self.canonical)
        if self.last is not self.node:
            raw = raw[:-1].removeprefix(b"el" if raw.startswith(b"elif") else b"")
        return raw.translate(None, _STYLE).lower()


def loose_key(canonical: str) -> bytes:
    """The cheap key of a canonical form."""
    return canonical.encode("utf-8", "surrogatepass").translate(None, _STYLE).lower()


def enclosing_scope(qualname: str) -> str:
    """Scope of the statement that holds a comprehension or lambda; other scopes are themselves."""
    while True:
        outer = _INNER_SCOPE.sub("", qualname)
        if outer == qualname:
            return qualname or MODULE_SCOPE
        qualname = outer


def walk(root: Node) -> Iterator[Statement]:
    """Every statement, in the order of the text."""
    pending: list[tuple[Node, str, bool]] = [(root, MODULE_SCOPE, False)]
    while pending:
        node, scope, in_function = pending.pop()
        kind = node.type
        if kind in _TRANSPARENT:
            inside_error = kind == "ERROR"
            pending.extend(
                (child, scope, in_function)
                for child in reversed(node.named_children)
                if not inside_error or _is_whole(child.type)
            )
        elif kind in COMPOUND:
            colon, bodies = _parts(node)
            if colon is not None:
                yield Statement(node, colon, scope)
            if kind == "class_definition":
                scope, in_function = _inner(node, scope, in_function), False
            elif kind == "function_definition":
                scope, in_function = _inner(node, scope, in_function), True
            pending.extend((body, scope, in_function) for body in reversed(bodies))
        elif kind != "comment" and kind != "line_continuation":
            yield Statement(node, node, scope)


def _is_whole(kind: str) -> bool:
    return (
        kind.endswith("_statement")
        or kind in COMPOUND
        or kind in _TRANSPARENT
        or kind == "decorator"
    )


def _parts(node: Node) -> tuple[Node | None, list[Node]]:
    """The colon that ends a header, and what follows it."""
    children = node.children
    for index, child in enumerate(children):
        if child.type == ":":
            return child, [each for each in children[index + 1 :] if each.is_named]
    return None, [each for each in children if each.type == "block"]


def _inner(node: Node, scope: str, in_function: bool) -> str:
    name = node.child_by_field_name("name")
    text = (name.text or b"").decode("utf-8", "replace") if name is not None else ""
    if scope == MODULE_SCOPE:
        return text
    return f"{scope}.<locals>.{text}" if in_function else f"{scope}.{text}"
