"""A recipe applied without packing: an ordinary model with the numbers that would be read back."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

import torch
from torch import Tensor, nn

from gradtracer.compression.formats import read_back
from gradtracer.compression.recipe_file import layer_recipe
from gradtracer.compression.structure import narrow
from gradtracer_schemas import Recipe

Packable = nn.Embedding | nn.EmbeddingBag | nn.Linear


def simulated(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Return a copy of the model that computes what the compressed one would.

    Raises:
        RecipeError: as `structure.narrow`.
        NotCompressible: NaN in a weight, or more than its format holds.
    """
    narrowed, storage = narrow(model, recipe)
    round_weights(narrowed, storage)
    return narrowed


@torch.no_grad()
def round_weights(model: nn.Module, storage: Recipe) -> None:
    """Put into each weight what would be read back of it, shared ones once."""
    done: set[int] = set()
    for name, weight in packable_weights(model):
        entry = layer_recipe(storage, f"{name}.weight")
        if entry is not None and id(weight) not in done:
            weight.copy_(read_back(weight, entry, f"layers.{name}"))
            done.add(id(weight))


def packable_weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Path and weight of each layer that can be packed."""
    return [
        (name, module.weight)
        for name, module in model.named_modules()
        if isinstance(module, Packable)
    ]


@contextlib.contextmanager
def shifted(shifts: Sequence[tuple[Tensor, Tensor]]) -> Generator[None]:
    """Each weight moved by its change within, and exactly as it was afterwards."""
    held = [weight.data for weight, _ in shifts]
    try:
        for weight, moved in shifts:
            weight.data = weight.data + moved
        yield
    finally:
        for (weight, _), data in zip(shifts, held, strict=True):
            weight.data = data
