"""EXPLODING_LEAVES: rounds move the margin further and further (statistics/leaf_velocity.py)."""

from __future__ import annotations

import math

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.booster_parameters import edit_parameter
from gradtracer.diagnoses.finding import Finding, probability_above, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence

_USUAL_RATE = 0.1


def examine(figures: TreeFigures, settings: Settings) -> Finding | None:
    """Raise when the movement of a round doubles over the later half of the training.

    Each round fits what the ones before left over, so that its movement can only shrink unless
    the rounds before made things worse.
    """
    trend = figures.growth
    if trend is None:
        return None
    span = figures.rounds - figures.rounds // 2
    limit = math.log(2) / span
    confidence = probability_above(trend.rate, trend.error, limit)
    if confidence < 0.95:
        return None
    rate = figures.facts.parameters.get("learning_rate")
    slower = _USUAL_RATE if rate is None or rate > _USUAL_RATE else rate / 10
    fold = math.exp(min(trend.rate * span, 50.0))
    return Finding(
        type="EXPLODING_LEAVES",
        severity="error",
        confidence=confidence,
        premise=(
            f"Over the last {span:,} rounds the movement of the margin by a round grew "
            f"{fold:.3g}-fold; in a training that converges it shrinks."
        ),
        implies="Each round overshoots what the last one left over: the training diverges.",
        action=(
            f"Set learning_rate to {slower:g}"
            + (f" (it is {rate:g})" if rate is not None else "")
            + ". If it still grows, raise reg_lambda, and look for targets far from all others."
        ),
        expected_effect="Rounds that move the margin less and less, and a loss that falls.",
        risk="A smaller learning rate needs more rounds.",
        evidence=[
            Evidence(
                statistic="velocity_growth",
                value=trend.rate,
                threshold=limit,
                comparison="above",
                n=trend.n,
                unit="1/round",
                interval=(trend.rate - 1.96 * trend.error, trend.rate + 1.96 * trend.error),
                test="log-linear trend, Newey-West error",
            )
        ],
        fixes=[
            edit_parameter(figures.facts, "learning_rate", slower, preferred=True),
            edit_parameter(
                figures.facts,
                "reg_lambda",
                10 * max(1.0, figures.facts.parameters.get("reg_lambda", 1.0)),
            ),
            suppress(),
        ],
    )
