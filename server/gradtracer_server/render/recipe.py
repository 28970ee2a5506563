"""What a recipe does to a layer and to the whole model, as a line and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradtracer_schemas import size_in_words
from gradtracer_server.render.numbers import number

if TYPE_CHECKING:
    from gradtracer_schemas import LayerRecipe, Recipe


def layer_line(layer: str, recipe: Recipe | None) -> str:
    """`Recipe: 25.60 MB -> 3.60 MB as INT4, NDCG@10 -0.05 % measured`; empty where it has none."""
    entry = recipe.layers.get(layer) if recipe is not None else None
    if recipe is None or entry is None or not entry.is_smaller:
        return ""
    before, after = size_in_words(entry.bytes_before), size_in_words(entry.bytes_after)
    return f"Recipe: {before} -> {after} as {_form(entry)}, {_quality(recipe)}."


def recipe_json(recipe: Recipe | None) -> dict[str, Any] | None:
    """A recipe for an editor's view of it: whole-model figures, smaller layers, the front."""
    if recipe is None:
        return None
    return {
        "metric": recipe.metric,
        "measured": recipe.measured,
        "bytesBefore": recipe.bytes_before,
        "bytesAfter": recipe.bytes_after,
        "qualityBefore": recipe.quality_before,
        "qualityAfter": recipe.quality_after,
        "floor": recipe.floor,
        "floorHeld": recipe.floor_held,
        "path": recipe.path,
        "layers": [
            {
                "name": name,
                "form": _form(entry),
                "before": entry.bytes_before,
                "after": entry.bytes_after,
                "measured": entry.measured_damage,
            }
            for name, entry in recipe.layers.items()
            if entry is not None and entry.is_smaller
        ],
        "front": [
            {
                "bytes": point.bytes,
                "quality": point.quality,
                "predictedDamage": point.predicted_damage,
            }
            for point in recipe.front
        ],
    }


def _quality(recipe: Recipe) -> str:
    """What the whole recipe does to the metric, and whether that was measured."""
    metric = recipe.metric or "quality"
    before, after = recipe.quality_before, recipe.quality_after
    if not recipe.measured or not before or after is None:
        return f"{metric} not measured"
    held = "" if recipe.floor_held else f", below the floor of {number(recipe.floor or 0)}"
    return f"{metric} {100 * (after / before - 1):+.2f} % measured with the whole recipe{held}"


def _form(entry: LayerRecipe) -> str:
    forms = [each.quantization for each in entry.tiers]
    forms.append(entry.quantization)
    said = " and ".join(dict.fromkeys(forms))
    if entry.factor is not None:
        said += f" of {entry.factor.rank} columns"
    if entry.low_rank is not None:
        said += f" of rank {entry.low_rank}"
    return said
