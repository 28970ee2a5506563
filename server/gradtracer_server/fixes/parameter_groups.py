"""The parameter groups of an optimizer: found, given a learning rate, or split."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tree_sitter import Node

from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import arguments, callee_name, text_of
from gradtracer_server.fixes.insertion import (
    before,
    indent_of,
    indent_unit,
    insert,
    line_break,
    line_indent,
    statement_around,
)
from gradtracer_server.fixes.literals import Place
from gradtracer_server.fixes.optimizer import Construction
from gradtracer_server.fixes.origins import bound_to
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.fixes.watched_model import is_watched, names_parameter, part
from gradtracer_server.source.edits import TextEdit

_INDEX = 0


def parameters_argument(built: Construction) -> Node:
    """What an optimizer is given to train."""
    value = built.passed.value(_INDEX, "params")
    if value is None:
        raise NotApplicable(f"the parameters on line {built.line} are not passed plainly")
    if value.type == "identifier":
        bound = bound_to(text_of(value), value)
        value = bound if bound is not None and bound.type == "list" else value
    return value


def groups(argument: Node) -> list[Node]:
    """The groups of a list of them, as dictionaries; empty when it is no such list."""
    if argument.type != "list":
        return []
    items = [item for item in argument.named_children if item.type != "comment"]
    return items if all(item.type == "dictionary" for item in items) else []


def entry(group: Node, key: str) -> Node | None:
    """What a group says under a key."""
    for pair in group.named_children:
        if pair.type == "pair":
            name = text_of(pair.child_by_field_name("key"))
            if name.strip("\"'") == key:
                return pair.child_by_field_name("value")
    return None


def group_of(
    argument: Node, path: str, place: Place, context: FixContext
) -> tuple[Node | None, Node | None]:
    """The group of its own that a layer has, and the one it shares with others; None for none."""
    shared = None
    for group in groups(argument):
        value = entry(group, "params")
        if value is None:
            continue
        if is_part(value, path, place, context):
            return group, None
        if _holder(value, path, place, context) is not None:
            shared = group
    return None, shared


def _holder(value: Node, path: str, place: Place, context: FixContext) -> tuple[Node, str] | None:
    """The model in the parameters of a group, and the path of the layer's owner that they are of.

    `model.encoder.parameters()` holds `encoder.emb`; None where a layer is no part of them.
    """
    owner = whole_model(value)
    if owner is None:
        return None
    if is_watched(owner, place, context, path):
        return owner, ""
    outer = path
    while outer := outer.rpartition(".")[0]:
        if is_part(value, outer, place, context):
            root = owner
            for _ in range(outer.count(".") + 1):
                inner = root.child_by_field_name("object") or root.child_by_field_name("value")
                if inner is None:
                    return None
                root = inner
            return root, outer
    return None


def whole_model(value: Node) -> Node | None:
    """`model` of `model.parameters()`; None for any other expression."""
    function = value.child_by_field_name("function") if value.type == "call" else None
    passed = arguments(value) if value.type == "call" else None
    if function is None or function.type != "attribute" or passed is None:
        return None
    if callee_name(value) != "parameters" or passed.positional or passed.keywords:
        return None
    return function.child_by_field_name("object")


def is_part(value: Node, path: str, place: Place, context: FixContext) -> bool:
    """Whether the parameters of a group are those of a layer: `model.item_emb.parameters()`."""
    owner = whole_model(value)
    if owner is not None:
        named = text_of(owner)
    elif value.type == "list" and value.named_child_count == 1:
        owner, named = value.named_children[0], text_of(value.named_children[0])
    else:
        return False
    named = "".join(named.split())
    wanted = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", path)
    layer = wanted.rpartition(".")[0] if names_parameter(path) else wanted
    for ending in (f".{wanted}", f".{layer}"):
        if named.endswith(ending):
            root = owner
            depth = ending.count(".") + ending.count("[")
            for _ in range(depth):
                inner = root.child_by_field_name("object") or root.child_by_field_name("value")
                if inner is None:
                    return False
                root = inner
            return is_watched(root, place, context, path)
    return False


def split(
    built: Construction, value: Node, path: str, setting: str, context: FixContext
) -> TextEdit:
    """Edit that gives a layer a group of its own.

    `value` is `model.parameters()`, and `setting` what the layer's group says, as `"lr": 1e-4`.
    Raises `NotApplicable` where it cannot be told that the model is the one that was watched.
    """
    owner = _watched_whole(built, value, [path], context)
    given, rest = _parted(owner, text_of(owner), path, built.place(context))
    return _two_groups(built, value, given, rest, setting)


def split_several(
    built: Construction, value: Node, paths: Sequence[str], setting: str, context: FixContext
) -> list[TextEdit]:
    """Edits that give several layers one group, and name it in a statement before; as `split`."""
    owner = _watched_whole(built, value, paths, context)
    whole = text_of(owner)
    names = ("tables", *(f"tables_{number}" for number in range(2, 100)))
    name = next(each for each in names if not re.search(rf"\b{each}\b", built.source.text))
    held = ", ".join(f"*{part(owner, path, built.place(context))}.parameters()" for path in paths)
    rest = f"[p for p in {whole}.parameters() if all(p is not q for q in {name})]"
    statement = statement_around(built.call)
    return [
        before(built.source, statement, [f"{name} = [{held}]"]),
        _two_groups(built, value, name, rest, setting),
    ]


def _watched_whole(
    built: Construction, value: Node, paths: Sequence[str], context: FixContext
) -> Node:
    owner = whole_model(value)
    if owner is None:
        raise NotApplicable(
            f"the optimizer is given {_short(value)} on line {built.line}; expected "
            "model.parameters(), which can be split into groups"
        )
    for path in paths:
        if not is_watched(owner, built.place(context), context, path):
            raise NotApplicable(
                f"whether {text_of(owner)} is the model that was watched is not known"
            )
    return owner


def _two_groups(built: Construction, value: Node, given: str, rest: str, setting: str) -> TextEdit:
    base = line_indent(built.source, value)
    inner = base + indent_unit(built.source)
    end = line_break(built.source)
    text = (
        f'[{end}{inner}{{"params": {given}, {setting}}},'
        f'{end}{inner}{{"params": {rest}}},{end}{base}]'
    )
    return TextEdit(built.source.range_of(value), text)


def split_group(
    built: Construction, group: Node, path: str, setting: str, context: FixContext
) -> list[TextEdit]:
    """Edits that split a layer off a group that it shares: with the group's settings, but for one.

    `setting`: what the layer's own group says otherwise, as `"lr": 1e-4`.
    """
    source, value = built.source, entry(group, "params")
    holder = None if value is None else _holder(value, path, built.place(context), context)
    whole = None if value is None else whole_model(value)
    if value is None or holder is None or whole is None:
        raise NotApplicable(
            f"the group on line {group.start_point.row + 1} is not known to hold it"
        )
    given, rest = _parted(holder[0], text_of(whole), path, built.place(context))
    key = setting.partition(":")[0].strip("\"' ")
    settings = [
        text_of(pair)
        for pair in group.named_children
        if pair.type == "pair"
        and text_of(pair.child_by_field_name("key")).strip("\"'") not in ("params", key)
    ]
    said = ", ".join([f'"params": {given}', *settings, setting])
    indent = indent_of(source, group)
    after = ", " if indent is None else f",{line_break(source)}{indent}"
    return [
        insert(source, group.start_byte, f"{{{said}}}{after}"),
        TextEdit(source.range_of(value), rest),
    ]


def _parted(model: Node, whole: str, path: str, place: Place) -> tuple[str, str]:
    """The parameters of a part of a model, and those of `whole` that are not of it."""
    own = part(model, path, place)
    if names_parameter(path):
        given, others = f"[{own}]", f"p is not {own}"
    else:
        given = f"{own}.parameters()"
        others = f"all(p is not q for q in {given})"
    return given, f"[p for p in {whole}.parameters() if {others}]"


def _short(node: Node) -> str:
    text = " ".join(text_of(node).split())
    return text if len(text) <= 50 else f"{text[:47]}..."
