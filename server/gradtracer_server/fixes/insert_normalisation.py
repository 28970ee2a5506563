"""Put a normalisation between a layer and the activation that it drives too far."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Node

from gradtracer_server.exceptions import AlreadyApplied, NotApplicable
from gradtracer_server.fixes.calls import (
    ancestor,
    arguments,
    callee_name,
    calls_in,
    original_name,
    text_of,
)
from gradtracer_server.fixes.imports import named
from gradtracer_server.fixes.insertion import after, indent_of, insert, line_break
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.fixes.sequence import Put, always, following, next_item, put_around
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import SourceText

NAME = "insert-normalisation"
TITLE = "Insert a normalisation"

_LAYERS = {
    "Linear": ("out_features", "LayerNorm", ""),
    "Conv1d": ("out_channels", "GroupNorm", "1, "),
    "Conv2d": ("out_channels", "GroupNorm", "1, "),
    "Conv3d": ("out_channels", "GroupNorm", "1, "),
}
"""By layer: the argument that has its width, what normalises over it, and that one's first one."""
_NORM = re.compile(r"norm|^bn", re.IGNORECASE)
_PLAIN = frozenset({"attribute", "binary_operator", "identifier", "integer"})


@dataclass(frozen=True)
class _Place:
    path: Path
    source: SourceText
    call: Node
    """The call that builds the layer."""
    following: Node | None
    """The next item of the list it stands in; None where it has a statement of its own."""
    put: Put | None = None
    """The statement that appends it to a list; None where it is an attribute of its own."""


def plan(context: FixContext) -> Plan:
    """One item more in the sequence, or both in a sequence of their own."""
    place = _target(context)
    source, call = place.source, place.call
    _, norm, first = _LAYERS[original_name(source, callee_name(call))]
    name = named(source, f"torch.nn.{norm}", call)
    text = f"{name.text}({first}{text_of(_width(source, call))})"
    line = call.start_point.row + 1
    if place.following is not None:
        indent = indent_of(source, place.following)
        gap = " " if indent is None else f"{line_break(source)}{indent}"
        edit = insert(source, place.following.start_byte, f"{text},{gap}")
        edits = [*name.edits, edit]
    elif place.put is not None:
        more = f"{place.put.owner}.append({text})"
        edits = [*name.edits, after(source, place.put.statement, [more])]
    else:
        sequence = named(source, "torch.nn.Sequential", call)
        both = f"{sequence.text}({text_of(call)}, {text})"
        imports = name.edits or sequence.edits
        edits = [*imports, TextEdit(source.range_of(call), both)]
    return Plan(
        f"Put {norm} after the layer on line {line}",
        {place.path: (source, edits)},
        rewrites=True,
    )


def locate(context: FixContext) -> None:
    """Find the layer, and go no further. Raises as `plan` does."""
    _target(context)


def _target(context: FixContext) -> _Place:
    for path, source, anchor in context.frames(context.diagnosis.site)[:1]:
        if anchor.state == "gone":
            break
        for call in calls_in(source, anchor)[:1]:
            name = callee_name(call)
            if original_name(source, name) not in _LAYERS:
                raise NotApplicable(
                    f"expected a call of {', '.join(_LAYERS)} to put a normalisation after, got "
                    f"{name or 'a call'} on line {call.start_point.row + 1}"
                )
            _width(source, call)
            return _place(path, source, call, context)
    raise NotApplicable("the statement that defines the layer is not in the workspace any more")


def _place(path: Path, source: SourceText, call: Node, context: FixContext) -> _Place:
    line = call.start_point.row + 1
    first = next(following(call), None)
    if first is not None and _NORM.search(callee_name(first)):
        if not always(first, call):
            raise NotApplicable(f"{callee_name(first)} may follow the layer on line {line}")
        raise AlreadyApplied(f"{callee_name(first)} follows the layer on line {line}")
    beside = next_item(call)
    if beside is not None and beside.type == "call":
        return _Place(path, source, call, beside)
    put = put_around(call)
    if put is not None and put.method == "append" and first is not None:
        return _Place(path, source, call, None, put)
    around = call.parent
    target = text_of(around.child_by_field_name("left")) if around is not None else ""
    attribute = context.diagnosis.site.attribute.rpartition(".")[2]
    if around is None or around.type != "assignment" or target != f"self.{attribute}":
        raise NotApplicable(
            f"the layer on line {line} is neither followed by its activation in a sequence nor an "
            "attribute of its own"
        )
    scope = ancestor(call, "class_definition") or source.root
    inside = text_of(scope)
    if re.search(rf"(norm|bn)\w*\s*\(\s*self\s*\.\s*{attribute}\s*\(", inside, re.IGNORECASE):
        raise AlreadyApplied(f"what self.{attribute} puts out is normalised already")
    if re.search(rf"\bself\s*\.\s*{attribute}\s*\.", inside):
        raise NotApplicable(f"parts of self.{attribute} are used by name")
    return _Place(path, source, call, None)


def _width(source: SourceText, call: Node) -> Node:
    """What is passed as the layer's width, where it can be written twice."""
    keyword, _, _ = _LAYERS[original_name(source, callee_name(call))]
    passed = arguments(call)
    value = None if passed is None else passed.value(1, keyword)
    if value is None or value.type not in _PLAIN or re.search(r"[(:]", text_of(value)):
        raise NotApplicable(f"{keyword} is not passed as a number or a name")
    return value
