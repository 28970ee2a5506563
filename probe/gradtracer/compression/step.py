"""One recipe for the whole model, of those that are weighed against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradtracer.compression.quality import Ratio
from gradtracer.compression.solver import Choice
from gradtracer.compression.units import Unit
from gradtracer_schemas import LayerRecipe, RecipePoint


class Step(NamedTuple):
    """A candidate for each unit."""

    layers: dict[str, LayerRecipe]
    """Without those that nothing can be done to."""
    bytes: int
    """Of all saved weights."""
    damage: float
    """Predicted, summed over units."""
    ratio: Ratio
    """Measured of the whole; 1 where it was not."""

    def point(self, before: float | None) -> RecipePoint:
        """For the recipe's front; `before` is the quality as it was, None: not measured."""
        measured = before is not None
        return RecipePoint(
            bytes=self.bytes,
            quality=before * self.ratio.value if measured else None,
            predicted_damage=self.damage,
            measured_damage=1.0 - self.ratio.value if measured else None,
            layers=dict(self.layers),
        )


def step_of(units: Sequence[Unit], beside: int, choice: Choice) -> Step:
    """What a solution of the solver stands for; `beside` are the bytes of all else."""
    picked = [unit.candidates[at] for unit, at in zip(units, choice.picks, strict=True)]
    layers: dict[str, LayerRecipe] = {}
    for candidate in picked:
        layers |= candidate.layers
    return Step(
        layers,
        beside + sum(candidate.bytes for candidate in picked),
        sum(candidate.damage for candidate in picked),
        Ratio(1.0, (1.0, 1.0), 0.0),
    )
