"""Replace the activation of a layer by one that passes a gradient where that one does not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.activations import ACTIVATIONS, REPLACED, STRINGS, Activation, Replaced
from gradtracer_server.fixes.calls import (
    ancestor,
    arguments,
    callee_name,
    calls_in,
    original_name,
    text_of,
)
from gradtracer_server.fixes.imports import Named, named
from gradtracer_server.fixes.insertion import statement_around
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.sequence import always, following
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import Range, SourceText

NAME = "replace-activation"
TITLE = "Replace the activation"

_WITHIN = frozenset({"argument_list", "attribute", "call", "parenthesized_expression"})
_SAME = {each.function: each.module for each in ACTIVATIONS.values() if each.function}


@dataclass(frozen=True)
class _Wanted:
    """What an offer asks for."""

    name: str
    """Of the activation that stands there."""
    old: Replaced
    to: Activation


@dataclass(frozen=True)
class _Found:
    """An activation in the source."""

    path: Path
    source: SourceText
    node: Node
    """The call of a class, function or method, or the string."""
    kind: str
    """`module`, `function`, `method` or `string`."""


def plan(context: FixContext) -> Plan:
    """Write the other activation where the layer's own stands."""
    wanted = _offered(context)
    found = _target(context, wanted)
    edits = _replaced(found, wanted)
    line = found.node.start_point.row + 1
    return Plan(
        f"Replace the {wanted.name} on line {line} by {wanted.to.module}",
        {found.path: (found.source, edits)},
        rewrites=True,
    )


def locate(context: FixContext) -> None:
    """Find the activation, and go no further. Raises as `plan` does."""
    _target(context, _offered(context))


def _offered(context: FixContext) -> _Wanted:
    given = context.offer.parameters if context.offer is not None else {}
    to, name = given.get("to"), given.get("from", "ReLU")
    if not isinstance(to, str) or to not in ACTIVATIONS:
        raise NotApplicable(
            f"expected one of {', '.join(ACTIVATIONS)} to replace it by, got {to!r}"
        )
    if not isinstance(name, str) or name not in REPLACED:
        raise NotApplicable(f"expected one of {', '.join(REPLACED)} to replace, got {name!r}")
    return _Wanted(name, REPLACED[name], ACTIVATIONS[to])


def _target(context: FixContext, wanted: _Wanted) -> _Found:
    for path, source, anchor in context.frames(context.diagnosis.site)[:1]:
        if anchor.state == "gone":
            break
        for call in calls_in(source, anchor)[:1]:
            found = _at(path, source, call, wanted, context)
            if found is not None:
                return found
            name = callee_name(call) or "a call"
            raise NotApplicable(
                f"what {name} on line {call.start_point.row + 1} puts out goes into no "
                f"{wanted.name} that can be read from the source"
            )
    raise NotApplicable("the statement that defines the layer is not in the workspace any more")


def _at(
    path: Path, source: SourceText, call: Node, wanted: _Wanted, context: FixContext
) -> _Found | None:
    """The layer itself; what its factory is told; what follows it; what it is put into."""
    name = original_name(source, callee_name(call))
    if name in wanted.old.modules:
        return _Found(path, source, call, "module")
    if name in ACTIVATIONS:
        raise AlreadyApplied(f"{name} stands there already")
    if name in STRINGS:
        return _string(path, source, call, wanted)
    follower = _following(call)
    if follower is not None:
        after = original_name(source, callee_name(follower))
        if after in wanted.old.modules:
            return _Found(path, source, follower, "module")
        if after in ACTIVATIONS and always(follower, call):
            raise AlreadyApplied(f"{after} follows the layer already")
    attribute = context.diagnosis.site.attribute.rpartition(".")[2]
    around = ancestor(call, "class_definition")
    if around is None or not attribute.isidentifier():
        return None
    return _applied(path, source, attribute, around, wanted)


def _string(path: Path, source: SourceText, call: Node, wanted: _Wanted) -> _Found:
    to = wanted.to
    index, keyword, known = STRINGS[original_name(source, callee_name(call))]
    passed = arguments(call)
    value = None if passed is None else passed.value(index, keyword)
    line = call.start_point.row + 1
    if value is None or value.type != "string":
        raise NotApplicable(f"{keyword} is not given as a string on line {line}")
    stands = text_of(value).strip("\"'").lower()
    if to.module not in known:
        raise NotApplicable(
            f"{callee_name(call)} on line {line} does not know {to.module}; it knows "
            f"{', '.join(known)}"
        )
    if stands == known[to.module]:
        raise AlreadyApplied(f"{keyword} is {stands!r} already on line {line}")
    if stands != wanted.old.string:
        raise NotApplicable(f"{keyword} is {stands!r} on line {line}, not {wanted.old.string!r}")
    return _Found(path, source, value, "string")


def _following(call: Node) -> Node | None:
    """What comes after a layer in its container, past normalisation and dropout."""
    for after in islice(following(call), 3):
        if not re.search(r"Norm|Dropout", callee_name(after)):
            return after
    return None


def _applied(
    path: Path, source: SourceText, attribute: str, around: Node, wanted: _Wanted
) -> _Found | None:
    """The activation around `self.attribute(...)`, or of the statement after it."""
    pattern = re.compile(rb"\bself\s*\.\s*" + attribute.encode() + rb"\s*\(")
    found: list[_Found] = []
    for match in pattern.finditer(source.data, around.start_byte, around.end_byte):
        call = source.root.descendant_for_byte_range(*match.span())
        while call is not None and call.type != "call":
            call = call.parent
        if call is None:
            return None
        activation = _around(path, source, call, wanted) or _after(path, source, call, wanted)
        if activation is None:
            return None
        found.append(activation)
    if len(found) > 1:
        lines = ", ".join(str(each.node.start_point.row + 1) for each in found)
        raise NotApplicable(f"the layer is applied in several places, on lines {lines}")
    return found[0] if found else None


def _function(path: Path, source: SourceText, call: Node, wanted: _Wanted) -> _Found | None:
    name = original_name(source, callee_name(call))
    if name in _SAME:
        raise AlreadyApplied(f"{name} stands on line {call.start_point.row + 1} already")
    if name not in wanted.old.functions:
        return None
    passed = arguments(call)
    method = passed is not None and not passed.positional and not passed.keywords
    return _Found(path, source, call, "method" if method else "function")


def _around(path: Path, source: SourceText, call: Node, wanted: _Wanted) -> _Found | None:
    """`F.relu(self.fc(x))`, `self.fc(x).relu()`, also with a normalisation between."""
    around = call.parent
    while around is not None and around.type in _WITHIN:
        if around.type == "call":
            found = _function(path, source, around, wanted)
            if found is not None:
                return found
            if not re.search("norm|bn|drop", callee_name(around), re.IGNORECASE):
                return None
        around = around.parent
    return None


def _after(path: Path, source: SourceText, call: Node, wanted: _Wanted) -> _Found | None:
    """`x = self.fc(x)` and then a statement that puts that `x` into the activation."""
    try:
        statement = statement_around(call)
    except NotApplicable:
        return None
    inner = statement.named_children[0] if statement.named_child_count else None
    following = statement.next_named_sibling
    while following is not None and following.type == "comment":
        following = following.next_named_sibling
    if inner is None or inner.type != "assignment" or inner.child_by_field_name("right") != call:
        return None
    name = text_of(inner.child_by_field_name("left"))
    pending = [] if following is None or following.child_by_field_name("body") else [following]
    while pending:
        node = pending.pop()
        if node.type == "call" and (found := _function(path, source, node, wanted)) is not None:
            passed = arguments(node)
            taken = None if passed is None else passed.value(0, "input")
            if found.kind == "method":
                function = node.child_by_field_name("function")
                taken = None if function is None else function.child_by_field_name("object")
            return found if text_of(taken) == name else None
        pending.extend(node.named_children)
    return None


def _replaced(found: _Found, wanted: _Wanted) -> list[TextEdit]:
    to = wanted.to
    source, node = found.source, found.node
    if found.kind == "string":
        factory = ancestor(node, "call")
        _, _, known = STRINGS[original_name(source, callee_name(factory or node))]
        text = text_of(node)
        quote = text[-1]
        return [TextEdit(source.range_of(node), f"{quote}{known[to.module]}{quote}")]
    function, passed = node.child_by_field_name("function"), arguments(node)
    if function is None or passed is None:
        raise NotApplicable("the activation is no plain call")
    if found.kind == "module" and wanted.name != "ReLU":
        name = _named(found, function, to.module, "torch.nn")
        return [*name.edits, TextEdit(source.range_of(node), f"{name.text}()")]
    if found.kind == "module":
        return [*_name(found, function, to.module, "torch.nn"), *_inplace(found, 0, to)]
    if not to.function:
        raise NotApplicable(f"{to.module} has weights of its own and is no function")
    if callee_name(node).endswith("_"):
        raise NotApplicable(f"{callee_name(node)} changes its input in place")
    if found.kind == "method":
        owner = function.child_by_field_name("object")
        name = named(source, f"torch.nn.functional.{to.function}", node)
        edit = TextEdit(source.range_of(node), f"{name.text}({text_of(owner)})")
        return [*name.edits, edit]
    if wanted.name != "ReLU":
        name = _named(found, function, to.function, "torch.nn.functional")
        given = text_of(passed.value(0, "input"))
        return [*name.edits, TextEdit(source.range_of(node), f"{name.text}({given})")]
    return [*_name(found, function, to.function, "torch.nn.functional"), *_inplace(found, 1, to)]


def _name(found: _Found, function: Node, to: str, home: str) -> list[TextEdit]:
    """The other name in the place of the one that is called."""
    name = _named(found, function, to, home)
    return [*name.edits, TextEdit(found.source.range_of(function), name.text)]


def _named(found: _Found, function: Node, to: str, home: str) -> Named:
    """The other name as the file writes it: beside the one that is called, if that has an owner."""
    owner = function.child_by_field_name("object")
    if owner is not None and text_of(owner) != "torch":
        return Named(f"{text_of(owner)}.{to}")
    return named(found.source, f"{home}.{to}", found.node)


def _inplace(found: _Found, index: int, to: Activation) -> list[TextEdit]:
    """`inplace` by name, as the others take something else in its place; or none of it."""
    source, passed = found.source, arguments(found.node)
    value = None if passed is None else passed.value(index, "inplace")
    if passed is None or value is None:
        return []
    given = passed.keywords.get("inplace", value)
    if to.takes_inplace:
        return (
            []
            if given != value
            else [TextEdit(source.range_of(value), f"inplace={text_of(value)}")]
        )
    before = given.prev_sibling
    start = before if before is not None and before.type == "," else given
    place = Range(source.range_of(start).start, source.range_of(given).end)
    return [TextEdit(place, "")]
