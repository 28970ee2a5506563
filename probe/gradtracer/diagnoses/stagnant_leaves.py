"""STAGNANT_LEAVES: rounds whose leaves no longer move anything (statistics/leaf_velocity.py)."""

from __future__ import annotations

from typing import NamedTuple

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.booster_parameters import edit_parameter
from gradtracer.diagnoses.finding import Finding, many, probability_above, suppress
from gradtracer.settings import Settings
from gradtracer.statistics.leaf_velocity import tail_start
from gradtracer_schemas import Evidence, FixOffer

_BRAKES = {"min_split_gain": 0.0, "min_child_weight": 1.0, "reg_lambda": 3.0}
"""Parameters that keep leaves small, with the largest default of the three libraries."""
_WHOLE = 1.0
"""A learning rate that takes the trees' answers as they are."""
_USUAL_RATE = 0.1


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
    remedy = _slower(figures) or _released(figures, start) or _fewer(figures, start)
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
            f"cost time and change no prediction.{remedy.reason}"
        ),
        action=remedy.action,
        expected_effect=remedy.effect,
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
        fixes=[*remedy.fixes, suppress()],
    )


class _Remedy(NamedTuple):
    """What is done about it, and the sentence that says why."""

    action: str
    effect: str
    fixes: tuple[FixOffer, ...]
    reason: str = ""


def _slower(figures: TreeFigures) -> _Remedy | None:
    """Where a round takes more than the whole of its trees' answers: what is left is overshot."""
    rate = figures.facts.parameters.get("learning_rate", 0.0)
    if rate <= _WHOLE:
        return None
    return _Remedy(
        f"Set learning_rate to {_USUAL_RATE:g} and train again: the rounds that moved the margin "
        "have not learned, they went past.",
        "A loss that falls from round to round.",
        (edit_parameter(figures.facts, "learning_rate", _USUAL_RATE, preferred=True),),
        f" With learning_rate={rate:g} each of the others added more than its trees asked for.",
    )


def _released(figures: TreeFigures, start: int) -> _Remedy | None:
    """Where a parameter holds the leaves down."""
    brake = _brake(figures)
    if not brake:
        return None
    usual = _BRAKES[brake]
    return _Remedy(
        f"Set {brake} to {usual:g}, so that splits are made again; or train {start} rounds.",
        "Rounds that learn; watch the validation metric, as they may now overfit.",
        (
            edit_parameter(figures.facts, brake, usual, preferred=True),
            edit_parameter(figures.facts, "num_boost_round", start),
        ),
        f" {brake}={figures.facts.parameters[brake]:g} holds the leaves down.",
    )


def _fewer(figures: TreeFigures, start: int) -> _Remedy:
    return _Remedy(
        f"Train {start} rounds. If the error is too high then, the trees lack features or depth, "
        "not rounds.",
        f"The same predictions from a model {figures.rounds / start:.1f} times smaller.",
        (edit_parameter(figures.facts, "num_boost_round", start, preferred=True),),
    )


def _brake(figures: TreeFigures) -> str:
    """The parameter above its default that keeps leaves small; empty when none is."""
    given = figures.facts.parameters
    return next((name for name, usual in _BRAKES.items() if given.get(name, usual) > usual), "")
