"""Where the parameters of a booster stand: the training call, its dictionary, the estimator.

`xgb.train(params, ...)`, `lgb.cv(...)` and `model.fit(...)` are followed to every list of arguments
and every dictionary that sets something, the one that counts first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tree_sitter import Node

from gradtracer_schemas import SourceSite
from gradtracer_server.exceptions import NotApplicable
from gradtracer_server.fixes.calls import (
    arguments,
    callee_name,
    calls_in,
    original_name,
    text_of,
)
from gradtracer_server.fixes.literals import Place, follow, scope_of
from gradtracer_server.fixes.proposal import Frame
from gradtracer_server.source.index import SourceText

_FUNCTIONS = frozenset({"train", "cv"})
_ESTIMATOR = re.compile(r"(Dask|Spark)?(XGB|LGBM|CatBoost)\w*\Z")
_MOST_PARTS = 32


@dataclass(frozen=True)
class Part:
    """One list of arguments or one dictionary that sets parameters."""

    node: Node
    """An `argument_list` or a `dictionary`."""
    place: Place
    """Where it stands."""

    @property
    def is_dictionary(self) -> bool:
        """Whether it sets by keys, and not by keywords."""
        return self.node.type == "dictionary"


@dataclass(frozen=True)
class BoosterCall:
    """A training call, and all that sets its parameters."""

    call: Node
    """The call that trains."""
    kind: str
    """`train`, `cv`, `fit`, or `build` where the estimator itself is all that is known: on a
    cluster the site is where the callback was given to it."""
    place: Place
    """Where the call stands."""
    parts: list[Part]
    """What sets parameters, the part that counts first."""
    assigned: dict[str, list[tuple[Node, Place]]]
    """What `params["name"] = value` sets, by name: it counts before all parts."""


def training_call(site: SourceSite, frames: Callable[[SourceSite], list[Frame]]) -> BoosterCall:
    """The training call at a site. Raises `NotApplicable` where it is no more what it was."""
    for index, frame in enumerate(site.frames):
        for path, source, anchor in frames(SourceSite(frames=[frame])):
            if anchor.state not in ("exact", "moved"):
                raise NotApplicable("the call that trained has changed since the run")
            place = Place(path, source, tuple(site.frames[index + 1 :]), frames, wanted="the value")
            for call in calls_in(source, anchor):
                if (kind := _kind(call, source)) is not None:
                    return _read(call, kind, place)
            for call in calls_in(source, anchor):
                if _is_estimator(call, source):
                    return _read(call, "build", place)
            raise NotApplicable("the statement that trained holds no call of train, cv or fit")
    raise NotApplicable("the call that trained lies outside the workspace")


def _kind(call: Node, source: SourceText) -> str | None:
    name = callee_name(call)
    function = call.child_by_field_name("function")
    if function is not None and function.type == "attribute" and name == "fit":
        return "fit"
    named = {name, original_name(source, name)} & _FUNCTIONS
    return named.pop() if named else None


def _read(call: Node, kind: str, place: Place) -> BoosterCall:
    parts: list[Part] = []
    assigned: dict[str, list[tuple[Node, Place]]] = {}
    listed = arguments(call)
    if listed is not None:
        parts.append(Part(listed.node, place))
    if kind == "fit":
        constructor, there = _estimator(call, place)
        passed = arguments(constructor)
        if passed is not None:
            parts.append(Part(passed.node, there))
    for part in parts:
        for spread in part.node.named_children:
            if spread.type == "dictionary_splat" and spread.named_children:
                _collect(spread.named_children[0], part.place, parts, assigned)
    given = None if listed is None or kind in ("fit", "build") else listed.value(0, "params")
    if given is not None:
        _collect(given, place, parts, assigned)
    return BoosterCall(call, kind, place, parts, assigned)


def _collect(
    given: Node,
    place: Place,
    parts: list[Part],
    assigned: dict[str, list[tuple[Node, Place]]],
) -> None:
    """The dictionary behind an expression, and what it spreads into itself."""
    if len(parts) >= _MOST_PARTS:
        return
    _assignments(given, place, assigned)
    wanted = replace(place, number=_dictionary, wanted="the parameters")
    found = follow(given, wanted)
    there = replace(place, path=found.path, source=found.source)
    if found.source is not place.source or scope_of(found.node) != scope_of(given):
        # Names in a dictionary that stands elsewhere are not those of the recorded callers.
        there = replace(there, callers=())
    node = found.node
    if node.type == "call":
        passed = arguments(node)
        node = node if passed is None else passed.node
    parts.append(Part(node, there))
    for child in node.named_children:
        if child.type == "dictionary_splat" and child.named_children:
            _collect(child.named_children[0], there, parts, assigned)


def _dictionary(node: Node) -> float | None:
    """Marks what `follow` is to find; the number has no meaning."""
    if node.type == "dictionary" or (node.type == "call" and callee_name(node) == "dict"):
        return 0.0
    return None


def _assignments(given: Node, place: Place, assigned: dict[str, list[tuple[Node, Place]]]) -> None:
    """What is assigned to keys of a name, in the scopes in which it is that name."""
    if given.type != "identifier":
        return
    name, scope = text_of(given), scope_of(given)
    while scope is not None:
        for key, value in _set_keys(scope, name):
            assigned.setdefault(key, []).append((value, place))
        scope = scope_of(scope) if scope.type != "module" else None


def _set_keys(scope: Node, name: str) -> Iterator[tuple[str, Node]]:
    pending = list(reversed((scope.child_by_field_name("body") or scope).named_children))
    while pending:
        node = pending.pop()
        if node.type in ("class_definition", "function_definition", "lambda"):
            continue
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if node.type == "assignment" and left is not None and left.type == "subscript":
            key = left.child_by_field_name("subscript")
            owner = text_of(left.child_by_field_name("value"))
            if owner == name and key is not None and key.type == "string" and right is not None:
                yield key_of(key), right
        if (
            node.type == "call"
            and text_of(node.child_by_field_name("function")) == f"{name}.update"
        ):
            passed = arguments(node)
            for keyword, each in ({} if passed is None else passed.keywords).items():
                value = each.child_by_field_name("value")
                if value is not None:
                    yield keyword, value
            for each in [] if passed is None else passed.positional:
                if each.type == "dictionary":
                    yield from pairs(each)
        pending.extend(reversed(node.named_children))


def key_of(node: Node) -> str:
    """What a string literal says, where it is a plain one."""
    return text_of(node).strip("\"'")


def pairs(dictionary: Node) -> Iterator[tuple[str, Node]]:
    """Keys that are plain strings, with the expressions of their values."""
    for child in dictionary.named_children:
        key, value = child.child_by_field_name("key"), child.child_by_field_name("value")
        if child.type == "pair" and key is not None and key.type == "string" and value is not None:
            yield key_of(key), value


def given_in(part: Part) -> Iterator[tuple[str, Node]]:
    """What a part sets, by name, with the expressions of the values."""
    if part.is_dictionary:
        yield from pairs(part.node)
        return
    for child in part.node.named_children:
        name, value = child.child_by_field_name("name"), child.child_by_field_name("value")
        if child.type == "keyword_argument" and name is not None and value is not None:
            yield text_of(name), value


def _estimator(call: Node, place: Place) -> tuple[Node, Place]:
    """The call that built what is fitted, or the estimator inside what searches or scales."""
    function = call.child_by_field_name("function")
    owner = None if function is None else function.child_by_field_name("object")
    if owner is None:
        raise NotApplicable("what is fitted cannot be read")
    found = follow(owner, replace(place, number=_any_call, wanted="the estimator"))
    there = replace(place, path=found.path, source=found.source)
    estimators = [each for each in _calls(found.node) if _is_estimator(each, found.source)]
    if len(estimators) != 1:
        raise NotApplicable(
            f"{text_of(owner)[:40]} is built by {callee_name(found.node)}(...), in which "
            f"{len(estimators)} estimators of xgboost, lightgbm or catboost stand"
        )
    return estimators[0], there


def _any_call(node: Node) -> float | None:
    return 0.0 if node.type == "call" else None


def _is_estimator(call: Node, source: SourceText) -> bool:
    name = callee_name(call)
    return any(_ESTIMATOR.match(each) for each in (name, original_name(source, name)))


def _calls(node: Node) -> list[Node]:
    found: list[Node] = []
    pending = [node]
    while pending:
        each = pending.pop()
        if each.type == "call":
            found.append(each)
        pending.extend(each.named_children)
    return found
