"""The calls in the source of functions that may have built one module.

Names, attributes, lists that are filled, comprehensions, helper functions and constructor arguments
are followed. A callee counts by what it is in the running interpreter; nothing of the user's is
called.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from gradtracer.assigned import Bound
from gradtracer.callees import Inner, Parameter, Scope, assigned_in, objects_of, scope_of

if TYPE_CHECKING:
    from torch import nn

_MAX_DEPTH = 12
SURE, LIKELY, POSSIBLE = range(3)
"""The callee is the module's class; one that it was made of; nothing that could be found out."""


class Found(NamedTuple):
    """A call that may have built the module."""

    call: ast.expr
    scope: Scope
    """Where it stands."""
    rank: int
    """`SURE`, `LIKELY` or `POSSIBLE`."""
    looped: bool
    """A loop evaluates it more than once."""

    @property
    def place(self) -> tuple[str, int, int]:
        """File, line and column."""
        return self.scope.file.file, self.call.lineno, self.call.col_offset


class Way(NamedTuple):
    """What an expression was reached through."""

    looped: bool = False
    """A loop evaluates it more than once."""
    inside: bool = False
    """What it makes is put into a container."""


class Search:
    """The calls that may have built one module."""

    def __init__(self, parameter: Parameter, module: nn.Module, *, within: bool) -> None:
        """`within`: the module is a child of a container, and no alternative to that."""
        self._parameter = parameter
        self._class = type(module)
        self._within = within
        self._seen: set[tuple[int, int, Way]] = set()
        self.found: list[Found] = []

    def all(self, bounds: Iterable[Bound], scope: Scope, depth: int, way: Way) -> None:
        """Go through what is bound to one name."""
        for bound in bounds:
            further = Way(way.looped or bound.looped, way.inside or bound.added)
            self.expression(bound.value, scope, depth, further)

    def expression(self, node: ast.expr, scope: Scope, depth: int, way: Way) -> None:
        """Go through what an expression may evaluate to or hold."""
        key = (id(node), id(scope.call), way)
        if depth > _MAX_DEPTH or key in self._seen:
            return
        self._seen.add(key)
        if isinstance(node, ast.Call):
            self._call(node, scope, depth, way)
        elif isinstance(node, ast.Name):
            self._name(node.id, scope, depth + 1, way)
        elif isinstance(node, ast.Attribute):
            self._attribute(node, scope, depth + 1, way)
        elif isinstance(node, ast.Subscript):
            self._subscript(node, scope, depth, way)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            self._comprehension(node.elt, node.generators, scope, depth)
        elif isinstance(node, ast.DictComp):
            self._comprehension(node.value, node.generators, scope, depth)
        elif not isinstance(node, ast.Lambda | ast.Constant | ast.Compare):
            if isinstance(node, ast.BinOp):
                way = way._replace(looped=way.looped or isinstance(node.op, ast.Mult))
            elif isinstance(node, ast.List | ast.Tuple | ast.Dict):
                way = way._replace(inside=True)
            for child in _values(node):
                self.expression(child, scope, depth, way)

    def arguments(self, call: ast.Call, scope: Scope, depth: int, way: Way) -> None:
        """Go through what a call is given."""
        for given in (*call.args, *(each.value for each in call.keywords)):
            self.expression(given, scope, depth + 1, way)

    def _call(self, call: ast.Call, scope: Scope, depth: int, way: Way) -> None:
        callees = objects_of(call.func, scope, self._parameter)
        for callee in callees:
            if isinstance(callee, type):
                if callee is self._class:
                    self._add(call, scope, SURE, way)
                elif _was(callee, self._class):
                    self._add(call, scope, LIKELY, way)
            elif (inner := _entered(callee, call, scope)) is not None:
                self.all(assigned_in(inner).returned, inner, depth + 1, way)
        if not callees:
            self._add(call, scope, POSSIBLE, way)
            if isinstance(call.func, ast.Attribute):
                # What a method returns may be its object: `.to(device)`.
                self.expression(call.func.value, scope, depth + 1, way)
        if not any(_builds_its_own(callee) for callee in callees):
            holds = any(isinstance(each, type) for each in callees)
            self.arguments(call, scope, depth, Way(way.looped, way.inside or holds))

    def _add(self, call: ast.expr, scope: Scope, rank: int, way: Way) -> None:
        if way.inside or not self._within:
            self.found.append(Found(call, scope, rank, way.looped))

    def _name(self, name: str, scope: Scope, depth: int, way: Way) -> None:
        assigned = assigned_in(scope)
        if name in assigned.names:
            self.all(assigned.names[name], scope, depth, way)
        elif name in scope.parameters:
            given = self._parameter(scope, name)
            if given is not None:
                self.expression(given[0], given[1], depth, way)
            elif (default := scope.defaults.get(name)) is not None:
                self.expression(default, scope, depth, way)
        elif scope.outer is not None:
            self._name(name, scope.outer, depth, way)

    def _attribute(self, node: ast.Attribute, scope: Scope, depth: int, way: Way) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == scope.own:
            assigned = assigned_in(scope)
            self.all(assigned.attributes.get(node.attr, ()), scope, depth, way)
            self.all(assigned.additions.get(node.attr, ()), scope, depth, way)

    def _subscript(self, node: ast.Subscript, scope: Scope, depth: int, way: Way) -> None:
        for held in objects_of(node.value, scope, self._parameter):
            getter = getattr(type(held), "__getitem__", None)
            if isinstance(getter, FunctionType) and _worth_reading(getter):
                inner = scope_of(getter, self_object=held, caller=scope)
                if inner is not None:
                    self.all(assigned_in(inner).returned, inner, depth + 1, way)
        self.expression(node.value, scope, depth + 1, way)

    def _comprehension(
        self, made: ast.expr, generators: list[ast.comprehension], scope: Scope, depth: int
    ) -> None:
        self.expression(made, scope, depth, Way(looped=True, inside=True))
        if not isinstance(made, ast.Call):
            for generator in generators:
                self.expression(generator.iter, scope, depth + 1, Way(looped=True, inside=True))


def _entered(callee: object, call: ast.Call, scope: Scope) -> Scope | None:
    """The scope of a function that a call enters, where its source can tell something."""
    if isinstance(callee, Inner):
        return callee.scope(call, scope)
    if not isinstance(callee, FunctionType) or not _worth_reading(callee):
        return None
    own = isinstance(call.func, ast.Attribute) and "self" in callee.__code__.co_varnames[:1]
    return scope_of(
        callee,
        owner=scope.owner if own else None,
        self_object=scope.self_object if own else None,
        call=call,
        caller=scope,
    )


def _values(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, ast.Dict):
        return node.values
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def is_torchs(named: Any) -> bool:
    """Whether a class or function is PyTorch's or Python's own."""
    return str(getattr(named, "__module__", "")).partition(".")[0] in ("torch", "builtins")


def _was(callee: type, cls: type) -> bool:
    """Whether a class was made of another after the fact, as parametrizations and FSDP do it."""
    return callee in cls.__mro__[1:] and callee.__name__ not in ("Module", "object")


def _builds_its_own(callee: object) -> bool:
    """Whether what a callee is given goes into another module than the one looked for."""
    from torch import nn

    return isinstance(callee, type) and issubclass(callee, nn.Module) and not is_torchs(callee)


def _worth_reading(function: FunctionType) -> bool:
    package = function.__module__.partition(".")[0]
    return package != "torch" and package not in sys.stdlib_module_names
