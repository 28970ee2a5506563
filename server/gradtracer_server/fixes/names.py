"""What binds a name: assignments in a scope, parameters, options of an argument parser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from gradtracer_server.fixes.calls import ancestor, arguments, callee_name, text_of
from gradtracer_server.source.index import SourceText

_OWN_SCOPE = frozenset({"class_definition", "function_definition", "lambda"})
_BINDS_ITS_LEFT = frozenset({"augmented_assignment", "for_in_clause", "for_statement"})
_BINDS_ALL_INSIDE = frozenset(
    {
        "as_pattern_target",
        "global_statement",
        "nonlocal_statement",
    }
)


def bindings(scope: Node, name: str) -> list[Node | None]:
    """The expressions bound to a name in a scope's own code; None for each that is no assignment.

    `scope` is a module, a function or a class. What is nested in it has names of its own.
    """
    return list(_bindings(scope, name))


# All findings of a text ask for the same few names. A node keeps its tree alive: few are kept.
@lru_cache(maxsize=16)
def _bindings(scope: Node, name: str) -> tuple[Node | None, ...]:
    found: list[Node | None] = []
    body = scope.child_by_field_name("body") or scope
    written = name.encode("utf-8", "surrogatepass")
    inside = [each for each in body.named_children if each.type != "comment"]
    pending = [each for each in reversed(inside) if written in (each.text or b"")]
    while pending:
        node = pending.pop()
        kind = node.type
        if kind in _OWN_SCOPE:
            found.extend([None] * (text_of(node.child_by_field_name("name")) == name))
            continue
        left = node.child_by_field_name("left")
        if kind == "assignment" and left is not None and text_of(left) == name:
            value = node.child_by_field_name("right")
            found.extend([] if value is None else [_last_value(value)])
        elif kind in ("assignment", *_BINDS_ITS_LEFT) and left is not None:
            found.extend([None] * _binds(left, name))
        elif kind == "named_expression":
            found.extend([None] * (text_of(node.child_by_field_name("name")) == name))
        elif kind in ("import_from_statement", "import_statement"):
            found.extend([None] * _imports(node, name))
        elif kind in _BINDS_ALL_INSIDE:
            found.extend([None] * _mentions(node, name))
        pending.extend(reversed(node.named_children))
    return tuple(found)


def bound_by_expression(node: Node, name: str) -> bool:
    """Whether a comprehension or lambda around a node, inside its statement, binds a name."""
    around = node.parent
    while around is not None and not around.type.endswith(("_definition", "_statement")):
        for child in around.named_children:
            if child.type == "for_in_clause":
                left = child.child_by_field_name("left")
                if left is not None and _mentions(left, name):
                    return True
            if child.type == "lambda_parameters" and _mentions(child, name):
                return True
        around = around.parent
    return False


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function."""

    index: int | None
    """Its place in a call, a method's own object not counted; None when by name only."""
    default: Node | None
    """Its default."""


def parameter(function: Node, name: str) -> Parameter | None:
    """The parameter of a function that has a name; None too for `*name` and `**name`."""
    listed = function.child_by_field_name("parameters")
    index: int | None = -1 if is_method(function) else 0
    for child in [] if listed is None else listed.named_children:
        kind = child.type
        if kind in ("list_splat_pattern", "keyword_separator"):
            index = None
        if kind not in (
            "default_parameter",
            "identifier",
            "typed_default_parameter",
            "typed_parameter",
        ):
            continue
        own = child.child_by_field_name("name")
        if own is None:
            own = child if kind == "identifier" else child.named_child(0)
        if text_of(own) == name:
            return Parameter(index, child.child_by_field_name("value"))
        if index is not None:
            index += 1
    return None


def is_method(function: Node) -> bool:
    """Whether a function's first parameter is the object it is called on."""
    around = ancestor(function, "class_definition", "function_definition")
    if around is None or around.type != "class_definition":
        return False
    decorated = function.parent
    if decorated is None or decorated.type != "decorated_definition":
        return True
    return all(text_of(each) != "@staticmethod" for each in decorated.named_children)


def self_assignments(class_node: Node, attribute: str) -> list[Node]:
    """The expressions assigned to `self.attribute` anywhere in a class."""
    found: list[Node] = []
    pending = [class_node]
    while pending:
        node = pending.pop()
        left = node.child_by_field_name("left")
        if node.type in ("assignment", "augmented_assignment") and left is not None:
            value = node.child_by_field_name("right")
            if text_of(left) == f"self.{attribute}" and value is not None:
                found.append(_last_value(value))
        pending.extend(reversed(node.named_children))
    return found


def attributes(class_node: Node) -> dict[str, Node]:
    """What a class assigns to attributes of `self`, by their names; the last of each."""
    found: dict[str, Node] = {}
    pending = [class_node]
    while pending:
        node = pending.pop()
        left = node.child_by_field_name("left")
        value = node.child_by_field_name("right")
        if node.type == "assignment" and left is not None and value is not None:
            owner, dot, attribute = text_of(left).partition(".")
            if owner == "self" and dot and attribute.isidentifier():
                found[attribute] = _last_value(value)
        pending.extend(node.named_children)
    return found


def options(source: SourceText, attribute: str) -> list[Node]:
    """The `add_argument` calls of a file whose result is found under an attribute."""
    found: dict[int, Node] = {}
    at = source.data.find(b"add_argument")
    while at >= 0:
        statement = source.statement_at(source.position_of(at))
        for call in [] if statement is None else source.call_nodes(statement):
            if callee_name(call) == "add_argument" and _destination(call) == attribute:
                found[call.start_byte] = call
        at = source.data.find(b"add_argument", at + 1)
    return list(found.values())


def _destination(call: Node) -> str:
    passed = arguments(call)
    if passed is None:
        return ""
    named = passed.keywords.get("dest")
    if named is not None:
        return text_of(named.child_by_field_name("value")).strip("\"'")
    flags = [text_of(each).strip("\"'") for each in passed.positional if each.type == "string"]
    flag = next((each for each in flags if each.startswith("--")), flags[0] if flags else "")
    return flag.lstrip("-").replace("-", "_")


def _last_value(value: Node) -> Node:
    """Of `a = b = 3`, the 3."""
    while value.type == "assignment" and (right := value.child_by_field_name("right")) is not None:
        value = right
    return value


def _binds(left: Node, name: str) -> bool:
    """Whether a target binds a name, alone or in a pattern; `name.x` and `name[0]` do not."""
    if left.type in ("attribute", "subscript"):
        return False
    if left.type == "identifier":
        return text_of(left) == name
    return any(_binds(child, name) for child in left.named_children)


def _imports(statement: Node, name: str) -> bool:
    """Whether an import binds a name: as its alias, else as its first part."""
    for child in statement.children_by_field_name("name"):
        bound = child.child_by_field_name("alias")
        if name == (text_of(child).partition(".")[0] if bound is None else text_of(bound)):
            return True
    return False


def _mentions(node: Node, name: str) -> bool:
    if node.type == "identifier":
        return text_of(node) == name
    return any(_mentions(child, name) for child in node.named_children)
