"""Where the columns of a table that is trained on are chosen: listed, dropped, or read.

From the training call the table is followed through data sets, splits, selections of rows and
names that are bound once, as far as can be read without doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tree_sitter import Node

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.booster_call import BoosterCall
from gradtracer_server.fixes.calls import arguments, callee_name, text_of
from gradtracer_server.fixes.literals import Literal, Place, follow, scope_of

_DATA_SETS = frozenset({"DMatrix", "QuantileDMatrix", "Dataset"})
_SAME_COLUMNS = frozenset(
    {"astype", "bfill", "clip", "copy", "dropna", "ffill", "fillna", "head", "infer_objects",
     "query", "reset_index", "sample", "sort_index", "sort_values", "tail"}
)  # fmt: skip
_ROWS = frozenset({"comparison_operator", "slice"})
_MOST_STEPS = 24


@dataclass(frozen=True)
class Chosen:
    """What says which columns there are."""

    kind: str
    """`list`: those to keep; `comprehension`: the same, chosen from others; `drop`: a call of
    `drop`; `read`: a call that reads a table; `dummies`: one that makes columns of categories."""
    node: Node
    """The list, the comprehension or the call."""
    place: Place
    """Where it stands."""


def chosen_columns(call: BoosterCall) -> Chosen:
    """Where the columns of a training call's table are chosen. Raises `NotApplicable`."""
    listed = arguments(call.call)
    if listed is None:
        raise NotApplicable("the arguments of the call that trained cannot be read")
    place = replace(call.place, number=_node, wanted="the table")
    if call.kind == "fit":
        table = listed.value(0, "X")
    else:
        given = listed.value(1, "dtrain") or listed.value(1, "train_set")
        built = None
        if given is not None:
            held, place = _set(given, place)
            built = arguments(held) if callee_name(held) in _DATA_SETS else None
        table = None if built is None else built.value(0, "data")
    if table is None:
        raise NotApplicable("the table that is trained on is not passed where it can be read")
    return _choice(table, place)


def _choice(table: Node, place: Place) -> Chosen:
    for _ in range(_MOST_STEPS):
        if table.type == "parenthesized_expression" and table.named_child_count == 1:
            table = table.named_children[0]
        elif table.type == "subscript":
            found = _subscript(table, place)
            if isinstance(found, Chosen):
                return found
            table = found
        elif table.type == "call":
            found = _call(table, place)
            if isinstance(found, Chosen):
                return found
            table = found
        elif table.type in ("identifier", "attribute") and not _is_indexer(table):
            table, place = _set(table, place)
        elif table.type == "attribute":
            table = table.child_by_field_name("object") or table
        else:
            break
    raise NotApplicable(f"the columns are not chosen where they can be read: {_short(table)}")


def _subscript(node: Node, place: Place) -> Chosen | Node:
    """A list of columns, or the table of which rows are chosen."""
    owner = node.child_by_field_name("value")
    keys = node.children_by_field_name("subscript")
    if owner is None or not keys:
        raise NotApplicable(f"line {_line(node)} cannot be read")
    by_place = _is_indexer(owner)
    if len(keys) == (2 if by_place else 1):
        for kind, written in (("list", _list), ("comprehension", _comprehension)):
            listed = _followed(keys[-1], place, written)
            if listed is not None:
                there = replace(place, path=listed.path, source=listed.source)
                return Chosen(kind, listed.node, there)
    rows = len(keys) == 1 and (by_place or keys[0].type in _ROWS or _is_mask(keys[0]))
    if not rows and keys[-1].type != "slice":
        raise NotApplicable(f"the columns on line {_line(node)} are no list of names")
    return owner


def _is_mask(key: Node) -> bool:
    """Whether an expression compares, so that it chooses rows."""
    operator = text_of(key.child_by_field_name("operator"))
    inner = key.type == "parenthesized_expression" and key.named_child_count == 1
    return operator in ("&", "|", "~") or (
        inner and (key.named_children[0].type in _ROWS or _is_mask(key.named_children[0]))
    )


def _call(node: Node, place: Place) -> Chosen | Node:
    name = callee_name(node)
    if name.startswith("read_"):
        return Chosen("read", node, place)
    if name == "drop":
        return Chosen("drop", node, place)
    if name == "get_dummies":
        return Chosen("dummies", node, place)
    function = node.child_by_field_name("function")
    owner = None if function is None else function.child_by_field_name("object")
    if owner is None or name not in _SAME_COLUMNS:
        raise NotApplicable(
            f"the columns come out of {name or 'a call'}(...) on line {_line(node)}, and cannot be "
            "read there"
        )
    return owner


def _unpacked(name: Node) -> Node | None:
    """What a name was given when several were set at once; None for any other name."""
    scope, own = scope_of(name), text_of(name)
    while scope is not None:
        bound = names.bindings(scope, own)
        if bound:
            found = list(_set_with_others(scope, own))
            return found[0] if len(found) == len(bound) == 1 else None
        scope = scope_of(scope)
    return None


def _set_with_others(scope: Node, name: str) -> Iterator[Node]:
    pending = [scope.child_by_field_name("body") or scope]
    while pending:
        node = pending.pop()
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if node.type == "assignment" and left is not None and right is not None:
            targets = [text_of(each) for each in left.named_children]
            if left.type in ("pattern_list", "tuple_pattern") and name in targets:
                given, parts = right.named_children, 1
                if (passed := arguments(right)) and callee_name(right) == "train_test_split":
                    # Two parts of each table, in order.
                    given, parts = passed.positional, 2
                elif right.type not in ("expression_list", "tuple"):
                    given = []
                if len(given) * parts == len(targets):
                    yield given[targets.index(name) // parts]
        pending += [
            child
            for child in node.named_children
            if child.type not in ("class_definition", "function_definition", "lambda")
        ]


def listed_columns(expression: Node, place: Place) -> Literal | None:
    """The list of names behind an expression; None where there is none."""
    return _followed(expression, place, _list)


def _followed(
    expression: Node, place: Place, written: Callable[[Node], float | None]
) -> Literal | None:
    try:
        return follow(expression, replace(place, number=written, wanted="the columns"))
    except NotApplicable:
        return None


def _set(expression: Node, place: Place) -> tuple[Node, Place]:
    """The call or subscript that a name stands for, and where that is."""
    if expression.type == "identifier" and (given := _unpacked(expression)) is not None:
        expression = given
    found = follow(expression, place)
    return found.node, _there(place, found, expression)


def _there(place: Place, found: Literal, start: Node) -> Place:
    """The place of what was followed to."""
    same = found.source is place.source and scope_of(found.node) == scope_of(start)
    callers = place.callers if same else ()
    return replace(place, path=found.path, source=found.source, callers=callers)


def _is_indexer(node: Node) -> bool:
    """`frame.loc` and `frame.iloc`, which choose rows, and columns by a second subscript."""
    return text_of(node.child_by_field_name("attribute")) in ("loc", "iloc")


def _node(node: Node) -> float | None:
    """Marks what `follow` is to find; the number has no meaning."""
    return 0.0 if node.type in ("call", "subscript") else None


def _list(node: Node) -> float | None:
    return 0.0 if node.type == "list" else None


def _comprehension(node: Node) -> float | None:
    return 0.0 if node.type == "list_comprehension" else None


def _line(node: Node) -> int:
    return node.start_point.row + 1


def _short(node: Node) -> str:
    return f"{' '.join(text_of(node).split())[:40]} on line {_line(node)}"
