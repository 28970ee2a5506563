"""TOWER_IMBALANCE: one tower hardly moves while another learns."""

from __future__ import annotations

from gradtracer.analyzers.tower_figures import TowerFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.diagnoses.learning_rate import raise_rate
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer

_LEVEL = 0.95
_APART = 3.0
"""Towers whose paces differ by no more are left as they are."""


def examine(figures: TowerFigures, settings: Settings) -> Finding | None:
    """Raise when the fastest tower moves `tower_pace_ratio` times as far a step as this one.

    The level is shared among the towers that might have been the fastest (Bonferroni).
    """
    if not figures.parallel:
        return None
    rival = figures.fastest
    confidence = rival.pace.probability_above(settings.tower_pace_ratio)
    if 1.0 - confidence > (1.0 - _LEVEL) / len(figures.rivals):
        return None
    bursts = rival.pace.n
    lr = "" if figures.lr is None else f" (now {figures.lr:g})"
    gradients = rival.gradient
    held = figures.optimizer is not None
    starved = held and gradients.probability_above(settings.tower_pace_ratio) >= _LEVEL
    return Finding(
        type="TOWER_IMBALANCE",
        severity="warning",
        confidence=confidence,
        premise=(
            f"A step moves tower {rival.tower} by {_share(rival.pace.value * figures.pace.value)} "
            f"of its norm and tower {figures.tower} by {_share(figures.pace.value)}: "
            f"{_times(rival.pace.value)} as far, over {bursts} bursts. "
            f"{_gradients(rival.tower, gradients.value, held=held)}"
        ),
        implies=(
            f"Tower {rival.tower} learns to match what {figures.tower} happened to be at its "
            "start; the scores rest on one tower alone."
        ),
        action=_action(figures, lr, held=held, starved=starved),
        expected_effect="Towers that move by shares of their weights within a factor of three.",
        risk="A tower that was pretrained forgets when it moves fast.",
        evidence=[
            Evidence(
                statistic="tower_pace_ratio",
                value=rival.pace.value,
                threshold=settings.tower_pace_ratio,
                comparison="above",
                n=bursts,
                interval=rival.pace.interval,
                test="Student t over bursts of the later half, on the log scale",
            ),
            *(
                [
                    Evidence(
                        statistic="tower_gradient_ratio",
                        value=gradients.value,
                        threshold=settings.tower_pace_ratio,
                        comparison="above",
                        n=gradients.n,
                        interval=gradients.interval,
                        test="Student t over bursts of the later half, on the log scale",
                    )
                ]
                if starved
                else []
            ),
        ],
        fixes=[*_own_rate(figures, starved=starved), suppress()],
    )


def _action(figures: TowerFigures, lr: str, *, held: bool, starved: bool) -> str:
    tower = figures.tower
    if not held:
        remedy = f"Give the parameters of {tower} to the optimizer."
    elif starved:
        remedy = (
            f"Look why so little gradient reaches {tower}: a detached output, a mask, a saturated "
            "end, a temperature."
        )
    else:
        remedy = (
            f"Give {tower} a learning rate{lr} nearer to that of {figures.fastest.tower}; where "
            "its weights are large for their gradients, initialise them smaller."
        )
    return f"{remedy} If it is meant to stay, freeze it."


def _own_rate(figures: TowerFigures, *, starved: bool) -> list[FixOffer]:
    """The least rate that brings the towers within a factor of three, where that is the cause."""
    if starved or figures.optimizer is None or not figures.path:
        return []
    factor = figures.fastest.pace.value / _APART
    offer = raise_rate(figures.optimizer, factor, parameters=figures.path)
    return [] if offer is None else [offer]


def _share(value: float) -> str:
    return "nothing" if value < 1e-11 else f"{value:.1g}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio < 1e9 else "beyond all measure"


def _gradients(rival: str, ratio: float, *, held: bool) -> str:
    if not held:
        return "No optimizer holds its weights."
    if ratio > 1e9:
        return "No gradient reaches it."
    if ratio >= 1:
        return f"The gradient of {rival} is {ratio:.2g} times as large."
    return f"Its own gradient is {1 / ratio:.2g} times as large."
