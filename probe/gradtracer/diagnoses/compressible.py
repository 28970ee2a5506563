"""COMPRESSIBLE: a layer that a recipe of measured quality makes smaller."""

from __future__ import annotations

from statistics import NormalDist

from gradtracer.diagnoses.finding import Finding, probability_above, suppress
from gradtracer_schemas import Evidence, FixOffer, Recipe, size_in_words


def examine(layer: str, recipe: Recipe, examples: int) -> Finding | None:
    """Raise where the recipe makes the layer smaller and surely keeps the quality asked for.

    The premise is about the recipe as a whole, as its quality was measured; of the layer it tells
    the bytes. Confidence is the probability that the quality kept is above the floor, under a
    normal law as wide as the interval of `recipe.quality_interval`.

    Args:
        layer: dotted path, as the recipe names it.
        recipe: a recipe with its quality; one that was not measured raises nothing.
        examples: how many the quality was measured on, or repeats of it; at least 1.
    """
    entry, floor = recipe.layers.get(layer), recipe.floor
    before, after = recipe.quality_before, recipe.quality_after
    if entry is None or not recipe.floor_held or floor is None or recipe.quality_interval is None:
        return None
    if not before or after is None or not entry.is_smaller:
        return None
    kept, (low, high) = after / before, recipe.quality_interval
    error = (high - low) / 2 / NormalDist().inv_cdf(0.5 + recipe.quality_level / 2)
    metric = recipe.metric or "the metric"
    change = f"{100 * (kept - 1):+.2f} %"
    return Finding(
        type="COMPRESSIBLE",
        severity="information",
        confidence=probability_above(kept, error, floor),
        premise=(
            f"{layer} needs {size_in_words(entry.bytes_after)} instead of "
            f"{size_in_words(entry.bytes_before)}; with the whole recipe {metric} changes by "
            f"{change}."
        ),
        implies="What is stored and served beyond that buys no quality that can be measured.",
        action=f"Apply the recipe. {entry.reason}".strip(),
        expected_effect=(
            f"The saved model falls from {size_in_words(recipe.bytes_before)} to "
            f"{size_in_words(recipe.bytes_after)}; {metric} was {after:.4g} with it, {before:.4g} "
            "without."
        ),
        risk="A compressed table is served, not trained on: keep the checkpoint it was made from.",
        evidence=[
            Evidence(
                statistic="quality_kept",
                value=kept,
                threshold=floor,
                comparison="above",
                n=max(1, examples),
                interval=(low, high),
                interval_level=recipe.quality_level,
                test="metric before and after on the same examples",
            )
        ],
        fixes=[
            FixOffer(fix="apply-recipe", parameters={"path": recipe.path}, preferred=True),
            suppress(),
        ],
    )
