"""A compression recipe: what to do to each layer, what it saves, and what it costs.

Every field has a default: a recipe may be written by hand, `{"model": "MF", "layers": {"item_emb":
{"quantization": "INT4"}}}`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Quantization = Literal["FP32", "FP16", "BF16", "INT8", "INT4", "INT2"]
"""How a number is stored; the integers with a scale and an offset of their own for each row."""
Fallback = Literal["zero", "mean"]
"""What a row that was removed is looked up as: zeros, or the mean of the rows kept."""

Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rank = Annotated[int, msgspec.Meta(ge=1)]


class RowSet(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of a table, or units of a layer."""

    count: Count
    """How many."""
    bitmap: str = ""
    """Base64 of the zlib-compressed bits, row r in bit r % 8 (lowest first) of byte r // 8; empty
    in an event that would be too long with it: the file has it."""


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table that are stored alike."""

    quantization: Quantization
    """How these rows are stored."""
    rows: RowSet
    """Which rows."""
    share_of_look_ups: Share | None = None
    """Their share of the look-ups; null: not counted, they are those of largest gradients."""


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A table narrowed to a rank."""

    rank: Rank
    """Columns kept."""
    partners: list[str] = []
    """Layers it meets in a dot product and is factorised with: all of them become tables of `rank`
    columns, and their products the best of that rank. Empty: alone, each look-up is multiplied
    back to the full width."""


class LayerRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one layer."""

    quantization: Quantization = "FP32"
    """How its numbers are stored, but for rows in `tiers`."""
    prune_ratio: Share = 0.0
    """Share of its rows or units removed: of `dropped`, or beside `kept_units`."""
    reason: str = ""
    """Why, in a sentence."""
    health_score: float | None = None
    """The original system's score, for its readers; no decision of ours uses it."""
    tiers: list[Tier] = []
    """Rows stored otherwise than by `quantization`, those that matter most first, no row twice."""
    dropped: RowSet | None = None
    """Rows removed; the ids of the others are mapped to their new places."""
    fallback: Fallback = "zero"
    """What a dropped row is looked up as."""
    factor: Factor | None = None
    """For a table: narrowed to a rank; its rows are then stored as `quantization` says."""
    low_rank: Rank | None = None
    """For a linear layer: replaced by two, with so many columns between them."""
    kept_units: RowSet | None = None
    """For a linear layer: its outputs that stay; what follows names the same in `kept_inputs`."""
    kept_inputs: RowSet | None = None
    """For a linear layer: its inputs that stay."""
    shape: list[int] = []
    """Shape of the weight it was made for; empty: any."""
    bytes_before: Count | None = None
    """Bytes of its parameters before."""
    bytes_after: Count | None = None
    """Bytes of what takes their place."""
    predicted_damage: float | None = None
    """Expected rise of the loss by this change; negative: it is expected to fall."""
    measured_damage: float | None = None
    """Share of the quality lost when this layer alone is changed, measured; negative: gained."""

    @property
    def is_smaller(self) -> bool:
        """Whether both sizes are known, and it saves bytes."""
        before, after = self.bytes_before, self.bytes_after
        return before is not None and after is not None and after < before


class RecipePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One of the recipes that no other beats in both bytes and the damage reckoned with.

    That is what was predicted, corrected by what was measured of single layers; the quality of the
    whole, measured afterwards, is noisy and may not fall in order.
    """

    bytes: Count
    """Size of the saved state dict."""
    quality: float | None = None
    """The metric with all of it applied; null: not measured."""
    predicted_damage: float | None = None
    """Expected rise of the loss, summed over layers."""
    measured_damage: float | None = None
    """Share of the quality lost with all of it applied; null: not measured."""
    layers: dict[str, LayerRecipe | None] = {}
    """As in the recipe."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A whole-model recipe."""

    model: str
    """Class name of the model it was made for."""
    layers: dict[str, LayerRecipe | None]
    """By dotted path of a parameter, of a module, by `re:` and a pattern that matches whole paths,
    or by `_default`, in this order of precedence; null leaves the layer as it is."""
    bytes_before: Count | None = None
    """Size of the saved state dict before, bytes."""
    bytes_after: Count | None = None
    """Size after, bytes; measured where `measured`, else from the layers' formats."""
    metric: str = ""
    """Name of the quality's metric; larger is better."""
    quality_before: float | None = None
    """The metric of the model as it was."""
    quality_after: float | None = None
    """The metric with the recipe applied."""
    quality_interval: tuple[float, float] | None = None
    """Interval of quality_after / quality_before at `quality_level`, paired where it can be."""
    quality_level: Share = 0.95
    """Level of `quality_interval`."""
    measured: bool = False
    """Whether the quality was measured with the recipe applied; false: damage is predicted only."""
    floor: float | None = None
    """Least quality_after / quality_before that was asked for."""
    floor_held: bool | None = None
    """Whether as many examples that were not scored would be at or above the floor, too, with the
    interval's confidence; null: not measured."""
    front: list[RecipePoint] = []
    """Recipes from small to large, each with less damage to reckon with than all smaller ones;
    empty in an event that would be too long with it."""
    path: str = ""
    """File that holds it whole, relative to the run's root; empty: none was written."""


def size_in_words(count: int | None) -> str:
    """`25.60 MB`, `0.21 MB`, `12.3 KB`."""
    if count is None:
        return "an unknown size"
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count / 1e3:.1f} KB"
