"""From an expression back to the ids whose rows of a table it is made of."""

from __future__ import annotations

from dataclasses import dataclass

from tree_sitter import Node

from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import ancestor, arguments, callee_name, text_of
from gradtracer_server.fixes.origins import bound_to
from gradtracer_server.fixes.table_uses import Use, ids_of

_MOST_STEPS = 8


@dataclass(frozen=True)
class LookedUp:
    """The ids and the table, as they can be written where the expression stands."""

    ids: Node
    """What is looked up."""
    table: str
    """What names the table."""


def looked_up(expression: Node, look_ups: list[Use]) -> LookedUp | None:
    """What an expression looks up in the table: itself, or in a method that it calls.

    Followed are names that are bound once, and calls of the functions that the look-ups stand in,
    where those look their own parameter up. None where it cannot be told.
    """
    for _ in range(_MOST_STEPS):
        if expression.type == "identifier":
            bound = bound_to(text_of(expression), expression)
            if bound is None:
                return None
            expression = bound
            continue
        found = [each for call in _calls(expression) if (each := _of_call(call, look_ups))]
        return found[0] if len(found) == 1 else None
    return None


def _calls(expression: Node) -> list[Node]:
    """The calls in an expression, without those in the arguments of a call that is followed."""
    found: list[Node] = []
    pending = [expression]
    while pending:
        node = pending.pop()
        if node.type == "call":
            found.append(node)
        if node.type not in ("lambda", "list_comprehension", "generator_expression"):
            pending.extend(node.named_children)
    return found


def _of_call(call: Node, look_ups: list[Use]) -> LookedUp | None:
    function = call.child_by_field_name("function")
    passed = arguments(call)
    if function is None or passed is None:
        return None
    for use in look_ups:
        ids, owner = ids_of(use.node), use.node.child_by_field_name("function")
        if ids is None or owner is None:
            continue
        if use.node == call:
            return LookedUp(ids, text_of(owner))
        around = ancestor(use.node, "function_definition")
        taken = None if around is None else names.parameter(around, text_of(ids))
        if around is None or taken is None or not names.is_method(around):
            continue
        name = text_of(around.child_by_field_name("name"))
        value = passed.value(taken.index, text_of(ids))
        called = _owner_of(call, function, name, around)
        if value is None or not called or not text_of(owner).startswith("self."):
            continue
        return LookedUp(value, called + text_of(owner).removeprefix("self"))
    return None


def _owner_of(call: Node, function: Node, method: str, around: Node) -> str:
    """What a call calls a method on; for `forward`, the module itself. Empty for another's."""
    if method != "forward":
        owner = function.child_by_field_name("object")
        return text_of(owner) if owner is not None and callee_name(call) == method else ""
    owner_class = ancestor(around, "class_definition")
    built = bound_to(text_of(function), call) if function.type == "identifier" else None
    name = "" if owner_class is None else text_of(owner_class.child_by_field_name("name"))
    if built is not None and built.type == "call" and callee_name(built) == name:
        return text_of(function)
    attribute = function.child_by_field_name("attribute")
    here = ancestor(call, "class_definition")
    if here is not None and attribute is not None:
        for value in names.self_assignments(here, text_of(attribute)):
            if value.type == "call" and callee_name(value) == name:
                return text_of(function)
    return ""
