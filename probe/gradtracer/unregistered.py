"""Modules that a model keeps in plain lists and dicts, into which PyTorch does not look.

`model.parameters()` leaves them out, `.to()` does not move them and `state_dict()` does not save
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, cast

from torch import nn

_OWN = frozenset(vars(nn.Module()))
"""Attributes of every module, in which PyTorch keeps what it knows."""
_MOST_ITEMS = 1_000
"""Looked at in one list: it may be the vocabulary."""
_DEEPEST = 2
"""A list within a list."""
_KINDS = ((list, "list"), (tuple, "tuple"), (dict, "dict"))


class Holder(NamedTuple):
    """A plain list, tuple or dict with modules in it."""

    attribute: str
    """Of the module that has it."""
    kind: str
    """What it is."""
    registers: bool
    """An `nn.ModuleList`, of a dict an `nn.ModuleDict`, would take all that is in it."""


class Unregistered(NamedTuple):
    """A module that PyTorch does not know to be part of the model."""

    path: str
    """Dotted path, as it would be in an `nn.ModuleList` or `nn.ModuleDict`."""
    module: nn.Module
    kept_in: Holder


def unregistered(model: nn.Module) -> list[Unregistered]:
    """What the modules of `model` keep so, each once, where it has weights of its own.

    Not what is registered elsewhere in the model, and not what holds the model itself: a way back
    to its owner. Takes a pass over the attributes.
    """
    known = set(map(id, model.modules()))
    weights = set(map(id, model.parameters()))
    found: list[Unregistered] = []
    for path, owner in model.named_modules():
        for name, value in list(vars(owner).items()):
            kind = "" if name in _OWN else _kind(value)
            if not kind:
                continue
            kept_in = Holder(name, kind, _registers(value))
            for place, module in _modules_in(value, 1):
                inner = list(module.modules())
                if id(module) in known or any(each is model for each in inner):
                    continue
                if all(id(weight) in weights for weight in module.parameters()):
                    continue
                known.update(map(id, inner))
                whole = ".".join([*([path] if path else []), name, *place])
                found.append(Unregistered(whole, module, kept_in))
    return found


def _kind(value: object) -> str:
    return next((word for kind, word in _KINDS if isinstance(value, kind)), "")


def _modules_in(value: Any, depth: int) -> Iterator[tuple[list[str], nn.Module]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in islice(cast("Any", pairs), _MOST_ITEMS):
        if isinstance(item, nn.Module):
            yield [str(key)], item
        elif depth < _DEEPEST and _kind(item):
            for place, module in _modules_in(item, depth + 1):
                yield [str(key), *place], module


def _registers(value: Any) -> bool:
    if not isinstance(value, dict):
        return all(isinstance(item, nn.Module) for item in value)
    pairs = cast("dict[object, object]", value).items()
    return all(isinstance(item, nn.Module) and _is_key(key) for key, item in pairs)


def _is_key(key: object) -> bool:
    return isinstance(key, str) and "." not in key and not hasattr(nn.ModuleDict, key or ".")
