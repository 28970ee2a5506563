"""Which call in the source of its owners builds a module that was built before anyone looked.

What the owner's methods bind to the attribute is searched for the calls whose callee is the
module's own class (`building_calls.py`). Where several remain, their order among the children of a
container decides; where nothing does, no call is named.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradtracer.assigned import Assigned
from gradtracer.building_calls import LIKELY, SURE, Found, Search, Way, is_torchs
from gradtracer.callees import (
    Scope,
    argument,
    assigned_in,
    functions_of,
    inherited_call,
    objects_of,
    scope_of,
)
from gradtracer_schemas import SourceFrame

if TYPE_CHECKING:
    from torch import nn


class ClassSource:
    """Reads the classes of one model's modules."""

    def __init__(self, owners: dict[str, nn.Module]) -> None:
        """`owners`: every module of the model by its path."""
        self._owners = owners
        self._found: dict[str, Found | None] = {}

    def frames(self, path: str) -> list[SourceFrame]:
        """The statement that builds a module, those that call for it, and its owners'."""
        frames: list[SourceFrame] = []
        found = self._find(path)
        while found is not None:
            call: ast.expr = found.call
            scope: Scope | None = found.scope
            owner = None
            while scope is not None:
                frame = scope.file.call_frame(call, scope.qualname)
                if frame is not None and frame not in frames:
                    frames.append(frame)
                owner = scope.owner
                call, scope = (scope.call, scope.caller) if scope.call else (call, None)
            found = self._find(owner) if owner else None
        return frames

    def _find(self, path: str) -> Found | None:
        if path not in self._found:
            self._found[path] = None
            try:
                self._found[path] = self._search(path) if path else None
            except RecursionError:
                pass
        return self._found[path]

    def _search(self, path: str) -> Found | None:
        module = self._owners[path]
        owner_path, _, name = path.rpartition(".")
        within = False
        while is_torchs(type(self._owners[owner_path])) and owner_path:
            if name == "parametrizations":
                return self._parametrized(owner_path)
            if not _is_container(self._owners[owner_path]):
                # Its own code is PyTorch's: the user wrote the call for the whole of it, and
                # perhaps one for what it copies.
                given = self._given(owner_path, module)
                if given and given[0].rank == SURE:
                    return given[0]
                return self._find(owner_path)
            owner_path, _, name = owner_path.rpartition(".")
            within = True
        candidates: list[Found] = []
        for scopes in self._scopes(owner_path):
            search = Search(self.parameter, module, within=within)
            for scope, assigned in scopes:
                bounds = assigned.to_attribute(name)
                if within:
                    bounds = [*bounds, *assigned.additions.get(name, ())]
                search.all(bounds, scope, 0, Way())
            candidates = _better(candidates, search.found)
            if candidates and candidates[0].rank == SURE:
                break
        if not candidates and _is_container(self._owners[owner_path]):
            # A container of the user's own class was given its children where it was built.
            candidates = self._given(owner_path, module)
        return self._choose(candidates, path)

    def _parametrized(self, path: str) -> Found | None:
        """The call that gave a layer a parametrization, such as `weight_norm(self.conv)`."""
        owner_path, _, name = path.rpartition(".")
        for scopes in self._scopes(owner_path) if path else ():
            for scope, assigned in scopes:
                for bound in reversed(assigned.to_attribute(name)):
                    call = bound.value
                    if isinstance(call, ast.Call):
                        called = objects_of(call.func, scope, self.parameter)
                        if any(is_torchs(each) and not isinstance(each, type) for each in called):
                            return Found(call, scope, LIKELY, bound.looped)
        return self._find(path)

    def _scopes(self, path: str) -> Iterable[list[tuple[Scope, Assigned]]]:
        """The methods of a module's classes, one class at a time, the constructor first."""
        module = self._owners[path]
        for cls in type(module).__mro__:
            if is_torchs(cls):
                return
            found: list[tuple[Scope, Assigned]] = []
            for function in functions_of(cls):
                scope = scope_of(function, owner=path, self_object=module)
                if scope is not None:
                    found.append((scope, assigned_in(scope)))
            yield found

    def _given(self, path: str, module: nn.Module) -> list[Found]:
        built = self._find(path)
        if built is None or not isinstance(built.call, ast.Call):
            return []
        search = Search(self.parameter, module, within=True)
        search.arguments(built.call, built.scope, 0, Way(inside=True))
        return _better([], search.found)

    def parameter(self, scope: Scope, name: str) -> tuple[ast.expr, Scope] | None:
        """The expression that a parameter was given, and where that stands."""
        if scope.call is not None and scope.caller is not None:
            given = argument(scope, scope.call, name)
            return (given, scope.caller) if given is not None else None
        if scope.owner is not None and scope.function.__name__ == "__init__":
            given = self._given_by_subclass(scope, name)
            if given is not None:
                return given
            built = self._find(scope.owner)
            if built is not None and isinstance(built.call, ast.Call):
                value = argument(scope, built.call, name)
                return (value, built.scope) if value is not None else None
        return None

    def _given_by_subclass(self, scope: Scope, name: str) -> tuple[ast.expr, Scope] | None:
        """What the nearest subclass hands on to this constructor by `super().__init__(...)`."""
        module = self._owners[scope.owner or ""]
        subclass: Scope | None = None
        for cls in type(module).__mro__:
            own = next((each for each in functions_of(cls) if each.__name__ == "__init__"), None)
            if own is scope.function:
                break
            if own is not None:
                subclass = scope_of(own, owner=scope.owner, self_object=module)
        call = subclass and inherited_call(subclass)
        if subclass is None or call is None:
            return None
        value = argument(scope, call, name)
        return (value, subclass) if value is not None else None

    def _choose(self, candidates: list[Found], path: str) -> Found | None:
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        parent_path, _, _ = path.rpartition(".")
        alike = [
            child
            for child in self._owners[parent_path].children()
            if type(child) is type(self._owners[path])
        ]
        if not _is_container(self._owners[parent_path]):
            return candidates[0]
        index = next(n for n, child in enumerate(alike) if child is self._owners[path])
        return _in_order(candidates, index, len(alike))


def _in_order(candidates: list[Found], index: int, count: int) -> Found:
    """Which of several calls made the n-th child, as loops repeat what stands in them."""
    first = next((n for n, each in enumerate(candidates) if each.looped), len(candidates))
    last = max((n for n, each in enumerate(candidates) if each.looped), default=first - 1)
    after = len(candidates) - 1 - last
    if index < first:
        return candidates[index]
    if last >= first and index >= count - after:
        return candidates[last + 1 + index - (count - after)]
    looped = candidates[first : last + 1] or candidates[-1:]
    return looped[(index - first) % len(looped)]


def _better(one: list[Found], other: list[Found]) -> list[Found]:
    """The surest of both, each call once."""
    both = [*one, *other]
    best = min((each.rank for each in both), default=SURE)
    kept: dict[tuple[str, int, int], Found] = {}
    for each in both:
        if each.rank == best:
            kept.setdefault(each.place, each)
    return list(kept.values())


def _is_container(module: object) -> bool:
    from torch import nn

    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
