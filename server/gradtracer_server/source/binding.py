"""What a statement binds or does, by which it is known again after its content has changed."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tree_sitter import Node

from gradtracer_server.source.canonical import canonical_node
from gradtracer_server.source.grammar import encode, parse_bytes
from gradtracer_server.source.outline import begin_statements


class Binding(NamedTuple):
    """The target of an assignment, the name of a definition, or the function that is called."""

    kind: str
    """`assign`, `call`, or the type of the node."""
    name: str
    """Canonical form of the target; empty where the kind has none."""

    @property
    def names_one_thing(self) -> bool:
        """Whether two statements with this binding are versions of each other."""
        return self.kind == "assign"


def binding_of(node: Node) -> Binding:
    """The binding of a statement's node."""
    inner = node.named_child(0) if node.type == "expression_statement" else None
    if inner is not None and inner.type in ("assignment", "augmented_assignment"):
        return Binding("assign", _field(inner, "left"))
    if inner is not None and inner.type == "call":
        return Binding("call", _field(inner, "function"))
    if node.type == "for_statement":
        return Binding(node.type, _field(node, "left"))
    if node.type in ("class_definition", "function_definition"):
        return Binding(node.type, _field(node, "name"))
    return Binding(node.type, "")


@lru_cache(maxsize=8192)
def binding_in(text: str) -> Binding | None:
    """The binding of the first statement in a text."""
    data = encode(text.strip())
    first = next(begin_statements(parse_bytes(data).root_node), None)
    return None if first is None else binding_of(first)


@lru_cache(maxsize=8192)
def callee_in(expression: str) -> str:
    """Canonical form of what a call calls; empty when the expression is no call."""
    root = parse_bytes(encode(expression.strip())).root_node
    inner = next((child for first in root.named_children for child in first.named_children), None)
    return _field(inner, "function") if inner is not None and inner.type == "call" else ""


def _field(node: Node, name: str) -> str:
    child = node.child_by_field_name(name)
    return "" if child is None else canonical_node(child)
