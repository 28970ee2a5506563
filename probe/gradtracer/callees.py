"""What a callee in a function's source is in the running interpreter. Nothing is called."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any

from gradtracer.assigned import Assigned, read
from gradtracer.source import Function, ParsedFile, function_source

_MAX_DEPTH = 8


@dataclass(frozen=True, eq=False)
class Scope:
    """A function of the running program, and its source."""

    function: Any
    """The function object, for its globals and closure; a type checker would bind it."""
    file: ParsedFile
    node: Function
    owner: str | None
    """Path of the module whose method it is."""
    self_object: object
    """What its first parameter is, of a method."""
    call: ast.Call | None
    """The call that it is read for, where that is known."""
    caller: Scope | None
    """Where that call stands."""
    outer: Scope | None = None
    """The scope of the function that it is defined in, where it is no function of its own."""

    @property
    def qualname(self) -> str:
        """Qualified name, as frames have it."""
        if self.outer is not None:
            name = "<lambda>" if isinstance(self.node, ast.Lambda) else self.node.name
            return f"{self.outer.qualname}.<locals>.{name}"
        return self.function.__code__.co_qualname

    @property
    def parameters(self) -> list[str]:
        """Names of its parameters, in order, without `*args` and `**kwargs`."""
        given = self.node.args
        return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]

    @property
    def own(self) -> str:
        """Name of `self`; empty in a plain function."""
        names = self.parameters
        return names[0] if self.self_object is not None and names else ""

    @property
    def defaults(self) -> dict[str, ast.expr]:
        """Expressions of default values by parameter."""
        given = self.node.args
        positional = [*given.posonlyargs, *given.args]
        late = positional[len(positional) - len(given.defaults) :]
        found = {each.arg: value for each, value in zip(late, given.defaults, strict=True)}
        for each, value in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            if value is not None:
                found[each.arg] = value
        return found


_readings: dict[Function, Assigned] = {}


def assigned_in(scope: Scope) -> Assigned:
    """The bindings of a scope's function; read once."""
    known = _readings.get(scope.node)
    if known is None:
        known = _readings[scope.node] = read(scope.node, scope.own)
    return known


Parameter = Callable[[Scope, str], "tuple[ast.expr, Scope] | None"]
"""The expression that a parameter of a scope was given, and where it stands."""


def scope_of(
    function: FunctionType,
    *,
    owner: str | None = None,
    self_object: object = None,
    call: ast.Call | None = None,
    caller: Scope | None = None,
) -> Scope | None:
    """The scope of a function; None without its source."""
    source = function_source(function.__code__)
    if source is None:
        return None
    return Scope(function, *source, owner, self_object, call, caller)


@dataclass(frozen=True, eq=False)
class Inner:
    """A function that another one defines: it exists only while that runs."""

    node: Function
    outer: Scope

    def scope(self, call: ast.Call, caller: Scope) -> Scope:
        """Its scope for one call."""
        outer = self.outer
        return Scope(outer.function, outer.file, self.node, outer.owner, None, call, caller, outer)


def functions_of(cls: type) -> list[FunctionType]:
    """The functions in a class, unwrapped, the constructor first: what it sets was built there."""
    found = [each for value in vars(cls).values() if (each := _function(value)) is not None]
    return sorted(found, key=lambda function: function.__name__ != "__init__")


def argument(scope: Scope, call: ast.Call, name: str) -> ast.expr | None:
    """What a call of a scope's function gives one of its parameters."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    given = scope.node.args
    positional = [each.arg for each in (*given.posonlyargs, *given.args)]
    if scope.own and positional:
        positional = positional[1:]
    if name in positional:
        place = positional.index(name)
        before = call.args[: place + 1]
        if len(before) > place and not any(isinstance(each, ast.Starred) for each in before):
            return before[place]
    elif given.vararg is not None and given.vararg.arg == name:
        rest = call.args[len(positional) :]
        return ast.List(rest, ast.Load()) if rest else None
    return None


def inherited_call(scope: Scope) -> ast.Call | None:
    """The call of `super().__init__` in a constructor."""
    for node in ast.walk(scope.node):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "__init__":
            of = called.value.func if isinstance(called.value, ast.Call) else None
            if isinstance(of, ast.Name) and of.id == "super":
                return node if isinstance(node, ast.Call) else None
    return None


def objects_of(node: ast.expr, scope: Scope, parameter: Parameter, depth: int = 0) -> list[Any]:
    """The objects that an expression may stand for; none where only running it would tell."""
    if depth > _MAX_DEPTH:
        return []
    found = [_bare(each) for each in _objects(node, scope, parameter, depth + 1)]
    return [each for n, each in enumerate(found) if not any(each is one for one in found[:n])]


def _objects(node: ast.expr, scope: Scope, parameter: Parameter, depth: int) -> Iterator[Any]:
    if isinstance(node, ast.Name):
        yield from _of_name(node.id, scope, parameter, depth)
    elif isinstance(node, ast.Attribute):
        for held in objects_of(node.value, scope, parameter, depth):
            yield from _attribute(held, _mangled(node.attr, scope))
    elif isinstance(node, ast.Lambda):
        yield Inner(node, scope)
    elif isinstance(node, ast.Subscript):
        for held in objects_of(node.value, scope, parameter, depth):
            yield from _items(held, node.slice)
    elif isinstance(node, ast.IfExp):
        for part in (node.body, node.orelse):
            yield from objects_of(part, scope, parameter, depth)
    elif isinstance(node, ast.BoolOp):
        for part in node.values:
            yield from objects_of(part, scope, parameter, depth)
    elif isinstance(node, ast.Call):
        yield from _of_call(node, scope, parameter, depth)


def _of_name(name: str, scope: Scope, parameter: Parameter, depth: int) -> Iterator[Any]:
    if name == scope.own:
        yield scope.self_object
        return
    assigned = assigned_in(scope)
    if name in assigned.functions:
        yield Inner(assigned.functions[name], scope)
        return
    bound = assigned.names.get(name)
    if bound:
        for each in bound:
            yield from objects_of(each.value, scope, parameter, depth)
        return
    if name in scope.parameters:
        given = parameter(scope, name)
        if given is not None:
            yield from objects_of(*given, parameter, depth)
        else:
            yield from _default(scope.function, name)
        return
    if scope.outer is not None:
        yield from _of_name(name, scope.outer, parameter, depth)
        return
    cells: tuple[CellType, ...] = scope.function.__closure__ or ()
    closure = dict(zip(scope.function.__code__.co_freevars, cells, strict=True))
    for names in (_contents(closure), scope.function.__globals__, vars(builtins)):
        if name in names:
            yield names[name]
            return


def _of_call(call: ast.Call, scope: Scope, parameter: Parameter, depth: int) -> Iterator[Any]:
    for callee in objects_of(call.func, scope, parameter, depth):
        if callee is functools.partial and call.args:
            yield from objects_of(call.args[0], scope, parameter, depth)
        elif callee is type and len(call.args) == 1:
            yield from map(type, objects_of(call.args[0], scope, parameter, depth))
        elif callee is getattr and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
            for held in objects_of(call.args[0], scope, parameter, depth):
                yield from _attribute(held, str(call.args[1].value))


def _attribute(held: Any, name: str) -> Iterator[Any]:
    if isinstance(held, ModuleType):
        # Some modules load their names when they are asked for: only what is there is taken.
        value = vars(held).get(name)
    else:
        value = inspect.getattr_static(held, name, None)
    if value is not None:
        yield value


def _mangled(name: str, scope: Scope) -> str:
    """A private name, as the class that the function stands in spells it."""
    cls = scope.function.__qualname__.rpartition(".")[0].rpartition(".")[2].lstrip("_")
    return f"_{cls}{name}" if cls and name.startswith("__") and not name.endswith("__") else name


def _items(held: Any, key: ast.expr) -> Iterator[Any]:
    if isinstance(held, dict):
        if isinstance(key, ast.Constant) and key.value in held:
            yield held[key.value]
        else:
            yield from held.values()
    elif isinstance(held, list | tuple):
        yield from held


def _bare(value: Any) -> Any:
    """The class or function behind what wraps it."""
    while True:
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, staticmethod | classmethod):
            value = value.__func__
        elif isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
            value = inspect.unwrap(value)
        elif inspect.ismethod(value):
            value = value.__func__
        else:
            return value


def _function(value: object) -> FunctionType | None:
    bare = _bare(value)
    return bare if isinstance(bare, FunctionType) else None


def _default(function: FunctionType, name: str) -> Iterator[Any]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    values = function.__defaults__ or ()
    late = dict(zip(names[len(names) - len(values) :], values, strict=True))
    value = late.get(name, (function.__kwdefaults__ or {}).get(name))
    if value is not None:
        yield value


def _contents(closure: dict[str, CellType]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, cell in closure.items():
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found
