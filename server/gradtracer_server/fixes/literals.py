"""Following an expression to the literal number that sets it.

Only what can be read without doubt is followed: a name that is bound once, a parameter to the call
that passed it, an attribute of an argparse namespace to its option's default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tree_sitter import Node

from gradtracer_schemas import SourceFrame, SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import (
    ancestor,
    arguments,
    callee_name,
    calls_in,
    original_name,
    text_of,
)
from gradtracer_server.fixes.proposal import Frame
from gradtracer_server.source.index import SourceText

_MOST_STEPS = 16


def integer(node: Node) -> int | None:
    """The value of an integer literal; None for any other node, and what Python 3 does not read."""
    try:
        return int(text_of(node), 0) if node.type == "integer" else None
    except ValueError:
        return None


def number(node: Node) -> float | None:
    """The value of an integer or float literal; None for any other node."""
    try:
        return float(text_of(node)) if node.type in ("float", "integer") else None
    except ValueError:
        return None


def written(value: float) -> str:
    """A number as people write it: `1e-5`, `0.001`, `0`."""
    return f"{value:g}".replace("e-0", "e-")


@dataclass(frozen=True)
class Literal:
    """A literal number in the workspace."""

    path: Path
    """Its file."""
    source: SourceText
    """That file's text."""
    node: Node
    """Its node."""
    value: float
    """The number; an `int` where integers are followed."""
    via: str
    """What it is the value of, as in `default of --dim`; empty when nothing was followed."""


@dataclass(frozen=True)
class Place:
    """Where an expression stands, and by which calls the run came there."""

    path: Path
    """File of the expression."""
    source: SourceText
    """That file's text."""
    callers: tuple[SourceFrame, ...]
    """The recorded calls that led here, innermost first; empty when they are not known."""
    frames: Callable[[SourceSite], list[Frame]]
    """Finds recorded frames in the workspace."""
    via: str = ""
    """What was followed last, for people."""
    steps: int = 0
    """How often something was followed."""
    number: Callable[[Node], float | None] = integer
    """Reads a literal of the wanted type; None for any other node."""
    wanted: str = "the dimension"
    """What the number is, for people."""
    built: tuple[SourceFrame, ...] = ()
    """The recorded calls that built the model, innermost first."""

    def on(self, via: str, callers: tuple[SourceFrame, ...] = ()) -> Place:
        """The next place on the way, in the same file."""
        if self.steps >= _MOST_STEPS:
            raise NotApplicable(f"{via} is passed on through too many names to follow")
        return replace(self, via=via, callers=callers, steps=self.steps + 1)


def follow(expression: Node, place: Place) -> Literal:
    """The literal that sets an expression. Raises `NotApplicable`, saying where the way ends."""
    while expression.type == "parenthesized_expression" and expression.named_child_count == 1:
        expression = expression.named_children[0]
    if (value := place.number(expression)) is not None:
        return Literal(place.path, place.source, expression, value, place.via)
    if expression.type == "identifier":
        return _name(expression, place)
    if expression.type == "attribute":
        return _attribute(expression, place)
    raise NotApplicable(
        f"{place.wanted} is given as {_short(expression)} on line {_line(expression)}, "
        "in which no single number sets it"
    )


def _name(node: Node, place: Place) -> Literal:
    name = text_of(node)
    if names.bound_by_expression(node, name):
        raise NotApplicable(f"{name} on line {_line(node)} takes several values")
    callers = place.callers
    scope = scope_of(node)
    while scope is not None:
        found = names.bindings(scope, name)
        if found:
            return follow(_only(found, name), place.on(name, callers))
        if scope.type == "function_definition":
            if names.parameter(scope, name) is not None:
                return _parameter(scope, name, place.on(name, callers))
            # The recorded callers called this function, not the one around it.
            callers = ()
        scope = scope_of(scope)
        while scope is not None and scope.type == "class_definition":
            # Names of a class's body are not seen by the functions in it.
            scope = scope_of(scope)
    raise NotApplicable(f"{name} on line {_line(node)} is not set in this file")


def scope_of(node: Node) -> Node | None:
    """The module, class or function in whose names an expression is evaluated."""
    inner = node
    around = node.parent
    while around is not None:
        if around.type == "module" or (
            around.type in ("class_definition", "function_definition")
            # A default is evaluated outside the function whose parameter it is for.
            and inner.type == "block"
        ):
            return around
        inner, around = around, around.parent
    return None


def _only(found: list[Node | None], name: str) -> Node:
    if len(found) == 1 and found[0] is not None:
        return found[0]
    how = f"set in {len(found)} places" if len(found) > 1 else "not set by a plain assignment"
    raise NotApplicable(f"{name} is {how}")


def _attribute(node: Node, place: Place) -> Literal:
    owner = text_of(node.child_by_field_name("object"))
    attribute = text_of(node.child_by_field_name("attribute"))
    if owner == "self":
        return _own_attribute(node, attribute, place)
    if owner == "self.hparams":
        return _hyperparameter(node, attribute, place)
    files = [(place.path, place.source)]
    for caller in place.callers:
        files.extend(
            (path, source) for path, source, _ in place.frames(SourceSite(frames=[caller]))
        )
    for path, source in files:
        calls = names.options(source, attribute)
        if len(calls) > 1:
            raise NotApplicable(f"{len(calls)} options of {path.name} set {_short(node)}")
        for call in calls:
            passed = arguments(call)
            default = None if passed is None else passed.value(None, "default")
            if default is None:
                raise NotApplicable(f"the option that sets {_short(node)} has no default")
            option = "--" + attribute.replace("_", "-")
            return follow(
                default, replace(place, path=path, source=source).on(f"default of {option}")
            )
    raise NotApplicable(f"where {_short(node)} is set cannot be read from the source")


def _own_attribute(node: Node, attribute: str, place: Place) -> Literal:
    owner = ancestor(node, "class_definition")
    found = [] if owner is None else names.self_assignments(owner, attribute)
    if len(found) != 1:
        raise NotApplicable(f"self.{attribute} is set in {len(found)} places of its class")
    function = ancestor(found[0], "function_definition")
    same = function == ancestor(node, "function_definition")
    callers = place.callers if same else _callers_of(function, place)
    return follow(found[0], place.on(f"self.{attribute}", callers))


def _hyperparameter(node: Node, name: str, place: Place) -> Literal:
    """Lightning's `self.hparams.lr`: the parameter that the constructor was called with."""
    owner = ancestor(node, "class_definition")
    body = None if owner is None else owner.child_by_field_name("body")
    for each in [] if body is None else body.named_children:
        function = (
            each if each.type == "function_definition" else each.child_by_field_name("definition")
        )
        if function is None or text_of(function.child_by_field_name("name")) != "__init__":
            continue
        if "self.save_hyperparameters(" in "".join(text_of(function).split()):
            return _parameter(function, name, place.on(name, _callers_of(function, place)))
    raise NotApplicable(f"where {_short(node)} is set cannot be read from the source")


def _callers_of(function: Node | None, place: Place) -> tuple[SourceFrame, ...]:
    """The recorded calls of a constructor, when it is one of those that built the model."""
    owner = None if function is None else ancestor(function, "class_definition")
    if function is None or owner is None:
        return ()
    names_of = [text_of(each.child_by_field_name("name")) for each in (owner, function)]
    for index, frame in enumerate(place.built):
        if frame.qualname.split(".")[-2:] == names_of:
            return place.built[index + 1 :]
    for index, frame in enumerate(place.built):
        called = frame.expression.partition("(")[0].rpartition(".")[2]
        if [called, "__init__"] == names_of:
            return place.built[index:]
    return ()


def _parameter(function: Node, name: str, place: Place) -> Literal:
    """On to what the recorded call passed for a parameter, or to its default."""
    return follow(*passed(function, name, place))


def passed(function: Node, name: str, place: Place) -> tuple[Node, Place]:
    """What the recorded call passed for a parameter, or its default, and where that stands.

    Raises `NotApplicable` where it was not recorded, or cannot be read.
    """
    taken = names.parameter(function, name)
    if not place.callers or taken is None:
        raise NotApplicable(f"{name} is passed by a call that the run did not record")
    recorded = place.frames(SourceSite(frames=[place.callers[0]]))
    if not recorded:
        raise NotApplicable(f"{name} is passed by a call outside the workspace")
    path, source, anchor = recorded[0]
    calls = [c for c in calls_in(source, anchor) if _calls(c, source, function, place.source)]
    given = arguments(calls[0]) if len(calls) == 1 else None
    if given is None or anchor.state not in ("exact", "moved"):
        raise NotApplicable(f"the call that passes {name} has changed, or is not a plain call")
    index = taken.index
    if index is not None and names.is_method(function) and _passes_object(calls[0]):
        index += 1
    value = given.value(index, name)
    if value is not None:
        there = replace(place, path=path, source=source)
        return value, there.on(f"{name} in the call", place.callers[1:])
    if given.unpacked or given.unpacked_keywords:
        raise NotApplicable(f"the call on line {_line(calls[0])} unpacks what it passes")
    if taken.default is None:
        raise NotApplicable(f"the call on line {_line(calls[0])} does not pass {name}")
    return taken.default, place.on(f"default of {name}")


def _calls(call: Node, source: SourceText, function: Node, defined_in: SourceText) -> bool:
    """Whether a call can be one of a function, by its name."""
    called = callee_name(call)
    own = text_of(function.child_by_field_name("name"))
    owner = ancestor(function, "class_definition", "function_definition")
    if own != "__init__" or owner is None or owner.type != "class_definition":
        return own in (called, original_name(source, called))
    class_name = text_of(owner.child_by_field_name("name"))
    built = {called, original_name(source, called)}
    return bool(built & {class_name, "__init__", "cls"}) or any(
        _inherits(text, name, class_name) for text in (source, defined_in) for name in built
    )


def _inherits(source: SourceText, name: str, base: str) -> bool:
    """Whether a file defines a class of one name directly on another."""
    for statement in source.statements_of("class_definition"):
        node = source.node_of(statement)
        if text_of(node.child_by_field_name("name")) == name:
            bases = node.child_by_field_name("superclasses")
            named = [] if bases is None else bases.named_children
            return any(text_of(each).rpartition(".")[2] == base for each in named)
    return False


def _passes_object(call: Node) -> bool:
    """Whether a method is called on its class, as in `Base.__init__(self, dim)`."""
    function = call.child_by_field_name("function")
    if callee_name(call) != "__init__" or function is None:
        return False
    owner = function.child_by_field_name("object")
    return owner is not None and owner.type != "call"


def _line(node: Node) -> int:
    return node.start_point.row + 1


def _short(node: Node) -> str:
    text = " ".join(text_of(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
