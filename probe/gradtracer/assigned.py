"""What the source of one function binds: to names, to attributes, into lists that it fills."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

_FILLING = {"append": 0, "add": 0, "extend": 0, "insert": 1, "update": 0, "setdefault": 1}
_REGISTERING = {"add_module": (0, 1), "register_module": (0, 1)}


class Bound(NamedTuple):
    """An expression, whether a loop evaluates it more than once, and whether it is put inside."""

    value: ast.expr
    looped: bool
    added: bool = False


def _table() -> defaultdict[str, list[Bound]]:
    return defaultdict(list)


@dataclass
class Assigned:
    """The bindings of a function, each in the order of its text."""

    names: defaultdict[str, list[Bound]] = field(default_factory=_table)
    """By local name, additions to a list of that name included."""
    attributes: defaultdict[str, list[Bound]] = field(default_factory=_table)
    """By attribute of `self`."""
    additions: defaultdict[str, list[Bound]] = field(default_factory=_table)
    """What is put into the container that an attribute of `self` holds."""
    computed: list[tuple[re.Pattern[str], Bound]] = field(
        default_factory=list[tuple[re.Pattern[str], Bound]]
    )
    """Attributes whose name is computed, as by `add_module(f"layer_{n}", ...)`."""
    returned: list[Bound] = field(default_factory=list[Bound])
    """What it returns or yields."""
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(
        default_factory=dict[str, "ast.FunctionDef | ast.AsyncFunctionDef"]
    )
    """Functions that are defined in it."""

    def to_attribute(self, name: str) -> list[Bound]:
        """What is bound to an attribute of `self`, by whatever way."""
        found = [bound for pattern, bound in self.computed if pattern.fullmatch(name)]
        return [*self.attributes.get(name, ()), *found]


def read(function: ast.AST, own: str) -> Assigned:
    """Read a function; `own` is the name of its first parameter, or empty."""
    assigned = Assigned()
    if isinstance(function, ast.Lambda):
        assigned.returned.append(Bound(function.body, False))
        return assigned
    _read(getattr(function, "body", []), own, False, assigned)
    return assigned


def _read(body: list[ast.stmt], own: str, looped: bool, to: Assigned) -> None:
    for statement in body:
        inside = looped or isinstance(statement, ast.For | ast.AsyncFor | ast.While)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            to.functions[statement.name] = statement
            continue
        if isinstance(statement, ast.ClassDef):
            continue
        if isinstance(statement, ast.For | ast.AsyncFor):
            _bind(statement.target, statement.iter, own, inside, to)
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                _bind(target, statement.value, own, looped, to)
        elif isinstance(statement, ast.AnnAssign | ast.AugAssign) and statement.value is not None:
            _bind(statement.target, statement.value, own, looped, to)
        elif isinstance(statement, ast.Return) and statement.value is not None:
            to.returned.append(Bound(statement.value, looped))
        elif isinstance(statement, ast.Expr):
            _call(statement.value, own, looped, to)
        for name in ("body", "orelse", "finalbody"):
            _read(getattr(statement, name, []), own, inside, to)
        for handler in getattr(statement, "handlers", []):
            _read(handler.body, own, inside, to)
        for case in getattr(statement, "cases", []):
            _read(case.body, own, inside, to)


def _bind(target: ast.expr, value: ast.expr, own: str, looped: bool, to: Assigned) -> None:
    bound = Bound(value, looped)
    if isinstance(target, ast.Name):
        to.names[target.id].append(bound)
    elif isinstance(target, ast.Attribute):
        if _is_name(target.value, own):
            to.attributes[target.attr].append(bound)
    elif isinstance(target, ast.Subscript):
        _add(target.value, bound, own, to)
    elif isinstance(target, ast.Starred):
        _bind(target.value, value, own, looped, to)
    elif isinstance(target, ast.Tuple | ast.List):
        parts: list[ast.expr] = [value] * len(target.elts)
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            parts = value.elts
        for each, part in zip(target.elts, parts, strict=True):
            _bind(each, part, own, looped, to)


def _call(value: ast.expr, own: str, looped: bool, to: Assigned) -> None:
    if isinstance(value, ast.Yield) and value.value is not None:
        to.returned.append(Bound(value.value, looped))
        return
    if not isinstance(value, ast.Call):
        return
    called = value.func
    if isinstance(called, ast.Name) and called.id == "setattr" and len(value.args) == 3:
        if _is_name(value.args[0], own):
            _named(value.args[1], Bound(value.args[2], looped), to)
    elif isinstance(called, ast.Attribute):
        places = _REGISTERING.get(called.attr)
        if places is not None:
            name, what = (
                _argument(value, n, k) for n, k in zip(places, ("name", "module"), strict=True)
            )
            if name is not None and what is not None:
                if _is_name(called.value, own):
                    _named(name, Bound(what, looped), to)
                else:
                    _add(called.value, Bound(what, looped), own, to)
        elif called.attr in _FILLING:
            what = _argument(value, _FILLING[called.attr], "module")
            if what is not None:
                _add(called.value, Bound(what, looped), own, to)


def _add(container: ast.expr, bound: Bound, own: str, to: Assigned) -> None:
    while isinstance(container, ast.Subscript):
        container = container.value
    bound = bound._replace(added=True)
    if isinstance(container, ast.Name):
        to.names[container.id].append(bound)
    elif isinstance(container, ast.Attribute) and _is_name(container.value, own):
        to.additions[container.attr].append(bound)


def _named(name: ast.expr, bound: Bound, to: Assigned) -> None:
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        to.attributes[name.value].append(bound)
    else:
        to.computed.append((re.compile(_pattern(name)), bound))


def _pattern(name: ast.expr) -> str:
    """What a computed name may look like."""
    if isinstance(name, ast.Constant):
        return re.escape(str(name.value))
    if isinstance(name, ast.JoinedStr):
        return "".join(_pattern(part) for part in name.values)
    if isinstance(name, ast.BinOp) and isinstance(name.op, ast.Add):
        return _pattern(name.left) + _pattern(name.right)
    if isinstance(name, ast.BinOp) and isinstance(name.op, ast.Mod):
        return re.sub(r"%\w|\\%\w", ".*", _pattern(name.left))
    called = name.func if isinstance(name, ast.Call) else None
    if isinstance(called, ast.Attribute) and called.attr == "format":
        return re.sub(r"\\\{[^}]*\\\}", ".*", _pattern(called.value))
    return ".*"


def _argument(call: ast.Call, place: int, keyword: str) -> ast.expr | None:
    if place < len(call.args):
        return call.args[place]
    return next((each.value for each in call.keywords if each.arg == keyword), None)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and bool(name) and node.id == name
