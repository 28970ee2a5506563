"""The towers of a model: groups of its parts that learn side by side."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from gradtracer.exceptions import NothingToWatch

Parts = str | nn.Module | Sequence[str | nn.Module]

_COUNTERPARTS = (
    {"user", "customer", "member", "buyer"},
    {"item", "product", "movie", "film", "ad", "candidate", "news"},
    {"query", "question", "anchor", "source", "src", "left", "image", "visual", "vision"},
    {"document", "doc", "passage", "answer", "target", "tgt", "right", "text", "language"},
)
"""Words that name one tower; two different words make two towers."""
_WORDS = frozenset[str]().union(*_COUNTERPARTS)


class TowerPart(NamedTuple):
    """One weight of a tower."""

    module: weakref.ref[nn.Module]
    """Weak, so that a model that is observed can still be thrown away."""
    name: str
    table: bool
    """Its rows are looked up: only those of a batch move on its account."""

    @property
    def weight(self) -> torch.Tensor | None:
        """The weight as it is now; None when it is gone or frozen."""
        weight = getattr(self.module(), self.name, None)
        return weight if isinstance(weight, torch.Tensor) and weight.requires_grad else None


class Tower(NamedTuple):
    """A group of layers and tables under one name."""

    name: str
    paths: tuple[str, ...]
    """Of the modules that the group was made of."""
    parts: tuple[TowerPart, ...]


class Towers(NamedTuple):
    """All towers of a model."""

    towers: tuple[Tower, ...]
    parallel: bool
    """They stand side by side, so that their paces can be compared: the user said so, or their
    names or classes do. Else they are the model's parts in a row."""


def towers_of(model: nn.Module, given: Mapping[str, Parts] | None = None) -> Towers:
    """Towers as given, or those that names and classes tell of, or the model's own children.

    Args:
        model: any module.
        given: for each tower its modules, by dotted path or themselves, e.g.
            `{"user": ["user_emb", "user_mlp"], "item": model.item_tower}`.

    Raises:
        NothingToWatch: a path that the model does not have, or fewer than two towers with trainable
            weights of their own.
    """
    if given is not None:
        groups = {name: _modules(model, name, parts) for name, parts in given.items()}
        return Towers(_enough(model, _built(groups)), True)
    children = _children(model)
    for groups in (_by_word(children), _by_class(children)):
        if len(towers := _built(groups)) > 1:
            return Towers(towers, True)
    return Towers(_enough(model, _built({path: {path: m} for path, m in children.items()})), False)


def has_towers(model: nn.Module) -> bool:
    """Whether names or classes tell of several towers that are more than a table each."""
    children = _children(model)
    return any(
        len(towers) > 1 and any(not part.table for tower in towers for part in tower.parts)
        for towers in (_built(_by_word(children)), _built(_by_class(children)))
    )


_Group = dict[str, nn.Module]


def _children(model: nn.Module) -> _Group:
    """The first level with more than one module that has weights."""
    prefix = ""
    while True:
        found = {
            f"{prefix}{name}": child
            for name, child in model.named_children()
            if any(p.requires_grad for p in child.parameters())
        }
        if len(found) != 1:
            return found
        ((path, model),) = found.items()
        prefix = f"{path}."


def _by_word(children: _Group) -> dict[str, _Group]:
    """`user_emb` and `user_mlp` are of one tower, `item_emb` of another."""
    groups: dict[str, _Group] = {}
    for path, module in children.items():
        words = re.findall(r"[A-Z]?[a-z]+|\d+", path.rpartition(".")[2])
        word = next((w.lower() for w in words if w.lower() in _WORDS), None)
        if word is None and len(words) > 1 and words[-1].lower() == "tower":
            word = words[0].lower()
        if word is not None:
            groups.setdefault(word, {})[path] = module
    return groups


def _by_class(children: _Group) -> dict[str, _Group]:
    """Modules of one class of the user's own, unless a number alone tells them apart."""
    classes: dict[type[nn.Module], _Group] = {}
    for path, module in children.items():
        if not type(module).__module__.startswith("torch."):
            classes.setdefault(type(module), {})[path] = module
    for group in classes.values():
        names = {path.rpartition(".")[2] for path in group}
        if len({re.sub(r"\d+", "", name) for name in names}) == len(group) > 1:
            return {path.rpartition(".")[2]: {path: module} for path, module in group.items()}
    return {}


def _modules(model: nn.Module, tower: str, parts: Parts) -> _Group:
    known = dict(model.named_modules())
    paths = {id(module): path for path, module in known.items()}
    found: _Group = {}
    for part in [parts] if isinstance(parts, str | nn.Module) else parts:
        path = part if isinstance(part, str) else paths.get(id(part), "")
        if path not in known or (not path and part is not model):
            raise NothingToWatch(
                f"tower {tower!r}: {type(model).__name__} has no module {part!r}; pass a path such "
                f"as {next(iter(_children(model)), 'encoder')!r}"
            )
        found[path] = known[path]
    return found


def _built(groups: Mapping[str, _Group]) -> tuple[Tower, ...]:
    """Towers with the weights that are theirs alone; those of several towers are nobody's."""
    owners: dict[int, set[str]] = {}
    parts: dict[str, dict[int, TowerPart]] = {}
    for name, group in groups.items():
        parts[name] = {}
        for module in (m for each in group.values() for m in each.modules()):
            table = isinstance(module, nn.Embedding | nn.EmbeddingBag)
            for attribute, weight in module.named_parameters(recurse=False):
                if weight.dim() >= 2 and weight.is_floating_point() and weight.requires_grad:
                    owners.setdefault(id(weight), set()).add(name)
                    part = TowerPart(weakref.ref(module), attribute, table)
                    parts[name].setdefault(id(weight), part)
    return tuple(
        Tower(name, tuple(groups[name]), own)
        for name, found in parts.items()
        if (own := tuple(part for at, part in found.items() if len(owners[at]) == 1))
    )


def _enough(model: nn.Module, towers: tuple[Tower, ...]) -> tuple[Tower, ...]:
    if len(towers) < 2:
        raise NothingToWatch(
            f"{type(model).__name__} has {len(towers)} towers with trainable weights of their own, "
            'expected two or more; pass e.g. towers={"user": ["user_emb"], "item": ["item_emb"]}'
        )
    return towers
