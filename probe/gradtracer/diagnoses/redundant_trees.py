"""REDUNDANT_TREES: the last rounds can be left out (statistics/divergence.py)."""

from __future__ import annotations

import math

import numpy as np

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.booster_parameters import edit_parameter
from gradtracer.diagnoses.finding import Finding, many, probability_above, suppress
from gradtracer.settings import Settings
from gradtracer.statistics.divergence import settled_from, wandering
from gradtracer_schemas import Evidence

_MIN_ROUNDS = 50


def examine(figures: TreeFigures, settings: Settings) -> Finding | None:
    """Raise when the validation metric stays within 0.1 % of what was gained for a long tail.

    The loss of truncation is measured: the metric at the end of the rounds to keep less the metric
    at the end. Silent where the library stops early by itself.
    """
    turn, curve = figures.divergence, figures.validation
    if turn is None or curve is None or figures.facts.stops_early:
        return None
    if turn.n < _MIN_ROUNDS or not turn.gained > 0:
        return None
    values = curve.falling
    kept = settled_from(values, settings.redundant_loss * turn.gained) + 1
    spare = turn.n - kept
    if spare < settings.redundant_share * turn.n:
        return None
    lost = float(values[kept - 1] - values[-1]) / turn.gained
    limit = 2 * settings.redundant_loss
    noise, jitter = wandering(np.diff(values[kept - 1 :]))
    error = math.sqrt(jitter**2 + noise**2 * spare) / turn.gained
    confidence = 1.0 - probability_above(lost, error, limit)
    if confidence < 0.95:
        return None
    told = curve.values
    return Finding(
        type="REDUNDANT_TREES",
        severity="information",
        confidence=confidence,
        premise=(
            f"From round {kept:,} on {curve.data} {curve.metric} stays within "
            f"{settings.redundant_loss:.1%} of what was gained: {told[kept - 1]:.4g} there, "
            f"{told[-1]:.4g} after {turn.n:,}."
        ),
        implies=(
            f"{many(spare, 'round')} ({spare / turn.n:.0%}) are trained, stored and evaluated for "
            "next to nothing."
        ),
        action=f"Train {kept} rounds, or cut a model that is already trained to them.",
        expected_effect=(
            f"Prediction {turn.n / kept:.1f} times faster at a loss of {max(0.0, lost):.3%} of "
            "what was gained, as measured here."
        ),
        risk="A metric that counts ranks or classes may not see what the margin still gains.",
        evidence=[
            Evidence(
                statistic="truncation_loss",
                value=lost,
                threshold=limit,
                comparison="below",
                n=turn.n,
                interval=(lost - 1.96 * error, lost + 1.96 * error),
                test="metric at truncation less metric at the end, Newey-West variance",
            )
        ],
        fixes=[edit_parameter(figures.facts, "num_boost_round", kept, preferred=True), suppress()],
    )
