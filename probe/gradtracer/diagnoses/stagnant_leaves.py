"""STAGNANT_LEAVES: rounds whose leaves no longer move anything (statistics/leaf_velocity.py)."""

from __future__ import annotations

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.booster_parameters import edit_parameter
from gradtracer.diagnoses.finding import Finding, many, probability_above, suppress
from gradtracer.settings import Settings
from gradtracer.statistics.leaf_velocity import tail_start
from gradtracer_schemas import Evidence, FixOffer

_BRAKES = {"min_split_gain": 0.0, "min_child_weight": 1.0, "reg_lambda": 3.0}
"""Parameters that keep leaves small, with the largest default of the three libraries."""


def examine(figures: TreeFigures, settings: Settings) -> Finding | None:
    """Raise when the last quarter of the rounds goes less than its share of the margin's path.

    Equal steps give a quarter; the limit is a tenth of that.
    """
    late = figures.late
    if late is None:
        return None
    confidence = 1.0 - probability_above(late.value, late.error, settings.stagnant_share)
    if confidence < 0.95:
        return None
    start = max(1, tail_start(figures.velocity, settings.stagnant_share))
    brake = _brake(figures)
    fixes: list[FixOffer] = [suppress()]
    fixes.insert(0, edit_parameter(figures.facts, "num_boost_round", start, preferred=not brake))
    if brake:
        fixes.insert(0, edit_parameter(figures.facts, brake, _BRAKES[brake], preferred=True))
    return Finding(
        type="STAGNANT_LEAVES",
        severity="warning",
        confidence=confidence,
        premise=(
            f"The last quarter of {figures.rounds:,} rounds moves the margin by "
            f"{late.value:.2g} of its whole path; equal steps would by a quarter."
        ),
        implies=(
            f"Nothing is learned from round {start:,} on: {many(figures.rounds - start, 'round')} "
            "cost time and change no prediction."
            + (
                f" {brake}={figures.facts.parameters[brake]:g} holds the leaves down."
                if brake
                else ""
            )
        ),
        action=(
            f"Set {brake} to {_BRAKES[brake]:g}, so that splits are made again; or train {start} "
            "rounds."
            if brake
            else f"Train {start} rounds. If the error is too high then, the trees lack features or "
            "depth, not rounds."
        ),
        expected_effect=(
            "Rounds that learn; watch the validation metric, as they may now overfit."
            if brake
            else f"The same predictions from a model {figures.rounds / start:.1f} times smaller."
        ),
        evidence=[
            Evidence(
                statistic="late_share",
                value=late.value,
                threshold=settings.stagnant_share,
                comparison="below",
                n=late.n,
                interval=(
                    max(0.0, late.value - 1.96 * late.error),
                    min(1.0, late.value + 1.96 * late.error),
                ),
                test="normal, delete-a-group jackknife over rounds",
            )
        ],
        fixes=fixes,
    )


def _brake(figures: TreeFigures) -> str:
    """The parameter above its default that keeps leaves small; empty when none is."""
    given = figures.facts.parameters
    return next((name for name, usual in _BRAKES.items() if given.get(name, usual) > usual), "")
