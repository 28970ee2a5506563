"""Which expression names the model that was watched, and how to write one of its parts."""

from __future__ import annotations

import re
from itertools import pairwise

from tree_sitter import Node

from gradtracer_schemas import SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes import names
from gradtracer_server.fixes.calls import (
    ancestor,
    arguments,
    callee_name,
    original_name,
    text_of,
)
from gradtracer_server.fixes.literals import Place, scope_of
from gradtracer_server.fixes.optimizer import watch_call
from gradtracer_server.fixes.origins import bound_to, origin
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.source.index import SourceText

_PARAMETERS = frozenset({"weight", "bias"})
_WRAPPERS = frozenset({"DistributedDataParallel", "DataParallel"})
"""They hold the model as `module`, and have none of its attributes."""


def is_watched(expression: Node, place: Place, context: FixContext, path: str) -> bool:
    """Whether an expression is the model at which a dotted path of a layer begins.

    It is when it is what `watch` was given, when it is assigned by a recorded call that built the
    layer, or when it is the `self` of the class that sets the path's first part.
    """
    first = path.partition(".")[0]
    if text_of(expression) == "self":
        owner = ancestor(expression, "class_definition")
        return owner is not None and bool(names.self_assignments(owner, first))
    found = origin(text_of(expression), expression, place)
    if found is None:
        return False
    watched = _watched(context, path)
    if found == watched or _builds(expression, context, first):
        return True
    inner = expression.child_by_field_name("object")
    if inner is None or not text_of(expression).endswith(".module"):
        return False
    wraps = _unwrapped(inner, place) != text_of(inner)
    return wraps and origin(text_of(inner), inner, place) == watched


def _watched(context: FixContext, path: str) -> object:
    """Origin of what the recorded call was given to watch."""
    try:
        (file, source, _), call = watch_call(context)
    except NotApplicable:
        return None
    passed = arguments(call)
    value = None if passed is None else passed.value(0, "model")
    if value is None and passed is not None:
        value = passed.value(0, "embedding_layer")
    if value is None:
        return None
    text = "".join(text_of(value).split())
    if callee_name(call) == "EmbeddingTracker":
        layer = _of_layer(path)
        if not text.endswith(f".{layer}"):
            return None
        text = text.removesuffix(f".{layer}")
    callers = tuple(context.diagnosis.related["watch"].frames[1:])
    return origin(text, value, Place(file, source, callers, context.frames))


def _builds(expression: Node, context: FixContext, first: str) -> bool:
    """Whether a name is assigned by the call that, in turn, set the path's first part."""
    value = bound_to(text_of(expression), expression) if expression.type == "identifier" else None
    frames = context.diagnosis.site.frames
    for inner, outer in pairwise(frames):
        if value is None or not re.match(rf"self\s*\.\s*{re.escape(first)}\b", inner.text):
            continue
        for _, source, anchor in context.frames(SourceSite(frames=[outer])):
            if anchor.focus == source.range_of(value):
                return True
    return False


def part(model: Node, path: str, place: Place) -> str:
    """How to write what a dotted path of the model leads to: `model.layers[0].weight`."""
    inner, parts = _unwrapped(model, place), path.split(".")
    if all(each.isidentifier() or each.isdecimal() for each in parts):
        return inner + "".join(f"[{p}]" if p.isdecimal() else f".{p}" for p in parts)
    layer = _of_layer(path)
    return f'{inner}.get_submodule("{layer}"){path.removeprefix(layer)}'


def _unwrapped(model: Node, place: Place) -> str:
    """The model within a wrapper that hides its attributes, where the name is or may be one."""
    text, scope = text_of(model), scope_of(model)
    if text == "self" or text.endswith(".module"):
        return text
    while scope is not None and not names.bindings(scope, text):
        scope = scope_of(scope)
    bound = [] if scope is None else names.bindings(scope, text)
    before = [each for each in bound if each is None or each.start_byte < model.start_byte]
    wrapping = [each for each in before if each is not None and _wraps(each, place.source)]
    maybe = f'getattr({text}, "module", {text})'
    if not wrapping:
        # A parameter, or an attribute that another method sets.
        return maybe if not before and _may_be_wrapped(place) else text
    block = ancestor(wrapping[-1], "block", "module")
    always = block is not None and block.start_byte <= model.start_byte < block.end_byte
    if always and wrapping[-1] == before[-1]:
        return f"{text}.module"
    return maybe


def _may_be_wrapped(place: Place) -> bool:
    """Whether this file, or one whose calls led here, names a wrapper."""
    callers = place.frames(SourceSite(frames=list(place.callers)))
    texts = [place.source.text, *(source.text for _, source, _ in callers)]
    return any(each in text for each in _WRAPPERS for text in texts)


def _wraps(value: Node, source: SourceText) -> bool:
    return value.type == "call" and original_name(source, callee_name(value)) in _WRAPPERS


def names_parameter(path: str) -> bool:
    """Whether a path ends at a parameter rather than at a layer."""
    return path.rpartition(".")[2] in _PARAMETERS


def check_known(context: FixContext, path: str) -> None:
    """Raise `NotApplicable` where a path is not known to be one in the model that was watched.

    Layers that are tracked one by one may have names that are no paths.
    """
    known, layer = context.diagnosis.site.attribute, _of_layer(path)
    if not f"{known}.".startswith(f"{layer}."):
        raise NotApplicable(f"where {layer} is in the model was not recorded")


def _of_layer(path: str) -> str:
    return path.rpartition(".")[0] if names_parameter(path) else path
