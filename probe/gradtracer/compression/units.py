"""What must be decided together, and of what can be done to it, what nothing else beats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gradtracer.compression.layers import Layer
from gradtracer_schemas import LayerRecipe


class Candidate(NamedTuple):
    """One thing to do to a unit."""

    layers: dict[str, LayerRecipe]
    bytes: int
    damage: float
    """Predicted; 0 for no change, negative where the loss is to fall."""
    disturbance: float
    """The part of it that does not depend on the sign of the change; 0 for no change."""


class Unit(NamedTuple):
    """What must be decided together."""

    layers: tuple[str, ...]
    candidates: list[Candidate]
    """From small to large, the last one no change."""
    tried: list[Candidate]
    """All that were predicted and are smaller, those that others beat too."""


def as_it_is(layers: Sequence[Layer]) -> Candidate:
    """No change."""
    entries: dict[str, LayerRecipe] = {}
    for layer in layers:
        entry = LayerRecipe(
            reason=layer.reason,
            shape=list(layer.weight.shape),
            bytes_before=layer.bytes_before,
            bytes_after=layer.bytes_before,
            predicted_damage=0.0,
        )
        entries |= dict.fromkeys((layer.name, *layer.aliases), entry)
    return Candidate(entries, sum(layer.bytes_before for layer in layers), 0.0, 0.0)


def unit_of(layers: tuple[Layer, ...], candidates: Iterable[Candidate]) -> Unit:
    """The unit of some layers, those left as they are among its candidates."""
    untouched = as_it_is(layers)
    tried = [each for each in candidates if each.bytes < untouched.bytes]
    names = tuple(layer.name for layer in layers)
    return Unit(names, [*unbeaten(tried), untouched], tried)


def unbeaten(candidates: Iterable[Candidate]) -> list[Candidate]:
    """From small to large, those that harm or disturb less than all smaller ones."""
    kept: list[Candidate] = []
    damage = disturbance = float("inf")
    for each in sorted(candidates, key=lambda each: (each.bytes, each.damage, each.disturbance)):
        if each.damage < damage or each.disturbance < disturbance:
            kept.append(each)
            damage, disturbance = min(damage, each.damage), min(disturbance, each.disturbance)
    return kept


def both(one: Candidate, other: Candidate) -> Candidate:
    """One and the other: what they cost adds up."""
    return Candidate(
        one.layers | other.layers,
        one.bytes + other.bytes,
        one.damage + other.damage,
        one.disturbance + other.disturbance,
    )
