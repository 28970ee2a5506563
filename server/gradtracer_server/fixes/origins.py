"""Which thing a name stands for: two names that come from one assignment are one thing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tree_sitter import Node

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import ancestor, text_of
from gradtracer_server.fixes.literals import Place, passed, scope_of

DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
"""A name, or attributes of one."""


class Origin(NamedTuple):
    """Where a name was bound."""

    path: Path
    """The file."""
    scope: int
    """First byte of the scope that binds it; -1 when the file does not."""
    text: str
    """How it is written there."""


def origin(expression: str, at: Node, place: Place) -> Origin | None:
    """Origin of a dotted name as it is understood at a node; None where it cannot be told.

    A parameter is followed to what the recorded call passed for it.
    """
    expression = "".join(expression.split())
    if not DOTTED.match(expression):
        return None
    head, dot, rest = expression.partition(".")
    if head == "self":
        owner = ancestor(at, "class_definition")
        return None if owner is None else Origin(place.path, owner.start_byte, expression)
    scope = scope_of(at)
    while scope is not None:
        if names.bindings(scope, head):
            return Origin(place.path, scope.start_byte, expression)
        if scope.type == "function_definition" and names.parameter(scope, head) is not None:
            try:
                value, there = passed(scope, head, place)
            except NotApplicable:
                return None
            return origin(text_of(value) + dot + rest, value, there)
        scope = scope_of(scope)
        while scope is not None and scope.type == "class_definition":
            scope = scope_of(scope)
    return Origin(place.path, -1, expression)


def bound_to(expression: str, at: Node) -> Node | None:
    """What a plain name is assigned, where that is one expression in a scope around a node."""
    scope = scope_of(at)
    while scope is not None:
        found = names.bindings(scope, expression)
        if found:
            return found[0] if len(found) == 1 else None
        if scope.type == "function_definition" and names.parameter(scope, expression) is not None:
            return None
        scope = scope_of(scope)
    return None
