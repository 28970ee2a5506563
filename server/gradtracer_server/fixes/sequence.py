"""What is put into a container after a layer, as far as the source tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node

from gradtracer_server.fixes.calls import ancestor, arguments, callee_name, text_of

_ONE = frozenset({"append", "add_module", "register_module"})
"""Methods that put one layer into what they are called on."""


@dataclass(frozen=True)
class Put:
    """A statement that puts layers into a container."""

    statement: Node
    owner: str
    """The container as it is written: `layers`, `self.blocks`."""
    method: str
    """`append`, `add_module`, `extend` or `+=`."""
    layers: list[Node]
    """The calls that build them, in order."""


def following(call: Node) -> Iterator[Node]:
    """The calls that build what comes after a layer in the same container, in order.

    In a list, in the arguments of `Sequential`, in pairs of a name and a layer; and past them in
    the statements of the same block that put something into the same container: `append`,
    `add_module`, `extend` and `+=`, also under an `if` without `else`. Ends where the order can
    no longer be read.
    """
    put = put_around(call)
    if put is None:
        yield from _beside(call)
        return
    yield from put.layers[put.layers.index(call) + 1 :]
    statement = put.statement.next_named_sibling
    while statement is not None:
        layers = _put_by(statement, put.owner)
        if layers is None:
            return
        yield from layers
        statement = statement.next_named_sibling


def always(follower: Node, call: Node) -> bool:
    """Whether what follows a layer does so whenever the layer is built."""
    return ancestor(follower, "block", "module") == ancestor(call, "block", "module")


def next_item(node: Node) -> Node | None:
    """The next item of a list, past comments."""
    sibling = node.next_named_sibling
    while sibling is not None and sibling.type == "comment":
        sibling = sibling.next_named_sibling
    return sibling


def put_around(call: Node) -> Put | None:
    """The statement that puts the layer which a call builds into a container."""
    around = ancestor(call, "expression_statement")
    put = None if around is None else _put(around)
    return put if put is not None and call in put.layers else None


def _beside(call: Node) -> Iterator[Node]:
    item = call
    if call.parent is not None and call.parent.type in ("tuple", "pair"):
        first = call.parent.named_children[0]
        item = call.parent if first.type == "string" else call
    while (sibling := next_item(item)) is not None:
        layer = _layer_of(sibling)
        if layer is None:
            return
        yield layer
        item = sibling


def _layer_of(item: Node) -> Node | None:
    """The call that builds an item, alone or behind its name."""
    if item.type in ("tuple", "pair") and item.named_child_count == 2:
        item = item.named_children[1]
    return item if item.type == "call" else None


def _put(statement: Node) -> Put | None:
    inner = statement.named_children[0] if statement.named_child_count == 1 else None
    if inner is None:
        return None
    if inner.type == "augmented_assignment":
        owner, right = inner.child_by_field_name("left"), inner.child_by_field_name("right")
        if text_of(inner.child_by_field_name("operator")) != "+=":
            return None
        return _of(statement, owner, "+=", right)
    function, passed = inner.child_by_field_name("function"), arguments(inner)
    if inner.type != "call" or function is None or passed is None or not passed.positional:
        return None
    owner, method = function.child_by_field_name("object"), callee_name(inner)
    if method == "extend":
        return _of(statement, owner, method, passed.positional[0])
    last = _layer_of(passed.positional[-1])
    if method not in _ONE or owner is None or last is None:
        return None
    return Put(statement, text_of(owner), method, [last])


def _of(statement: Node, owner: Node | None, method: str, listed: Node | None) -> Put | None:
    """Of a statement that puts a whole list; None where an item is no call."""
    if owner is None or listed is None or listed.type not in ("list", "tuple"):
        return None
    items = [_layer_of(item) for item in listed.named_children if item.type != "comment"]
    layers = [item for item in items if item is not None]
    return Put(statement, text_of(owner), method, layers) if len(layers) == len(items) else None


def _put_by(statement: Node, owner: str) -> list[Node] | None:
    """What a later statement puts into the container; None where that cannot be told."""
    if not re.search(rf"(?<![\w.]){re.escape(owner)}(?!\w)", text_of(statement)):
        return []
    put = _put(statement) if statement.type == "expression_statement" else None
    if put is not None and put.owner == owner:
        return put.layers
    body = statement.child_by_field_name("consequence")
    if statement.type != "if_statement" or body is None:
        return None
    if statement.child_by_field_name("alternative") is not None:
        return None
    found: list[Node] = []
    for inner in body.named_children:
        layers = _put_by(inner, owner)
        if layers is None:
            return None
        found += layers
    return found
