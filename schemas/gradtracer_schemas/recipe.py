"""A compression recipe: what to do to each layer, and what it costs."""

from __future__ import annotations

import msgspec


class LayerRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one layer."""

    quantization: str
    """Storage type: `FP32`, `FP16`, `INT8`, `INT4`."""
    prune_ratio: float = 0.0
    """Share of the layer's rows or units removed, 0 to 1."""
    reason: str = ""
    """Why, in a sentence."""
    health_score: float | None = None
    """The original system's score, for its readers; no decision of ours uses it."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A whole-model recipe."""

    model: str
    """Class name of the model it was made for."""
    layers: dict[str, LayerRecipe]
    """By dotted path."""
    bytes_before: int | None = None
    """Size of the saved state dict before, bytes."""
    bytes_after: int | None = None
    """Size after, bytes; measured."""
