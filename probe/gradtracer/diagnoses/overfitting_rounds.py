"""OVERFITTING_ROUNDS: validation turns while training goes on (statistics/divergence.py)."""

from __future__ import annotations

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.booster_parameters import edit_parameter
from gradtracer.diagnoses.finding import Finding, many, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence

_LEVEL = 0.01
_PATIENCE = 10


def examine(figures: TreeFigures, settings: Settings) -> Finding | None:
    """Raise when the validation metric has risen from its best, by more than wandering explains.

    The training metric must have gone on falling, where there is one. Silent where the library
    stops early by itself: it predicts with the best round then.
    """
    turn, validation = figures.divergence, figures.validation
    if turn is None or validation is None or figures.facts.stops_early:
        return None
    if turn.p_value > _LEVEL or turn.rise < settings.overfit_share * turn.gained:
        return None
    meanwhile = _meanwhile(figures, turn.best)
    if meanwhile is None:
        return None
    best, wasted = turn.best + 1, turn.n - 1 - turn.best
    patience = max(_PATIENCE, turn.high - turn.best)
    values = validation.values
    return Finding(
        type="OVERFITTING_ROUNDS",
        severity="warning",
        confidence=1.0 - turn.p_value,
        premise=(
            f"{validation.data} {validation.metric} is best in round {best} "
            f"({values[turn.best]:.4g}) and {values[-1]:.4g} after {turn.n:,}{meanwhile}."
        ),
        implies=f"{many(wasted, 'round')} fit noise, and the model that is kept holds them all.",
        action=(
            f"Stop early: early_stopping_rounds={patience}, which outlasts the noise of this "
            f"metric. Or train {best} rounds; or learn more slowly, with a smaller learning_rate "
            "or shallower trees."
        ),
        expected_effect=(
            f"{validation.metric} of {values[turn.best]:.4g} instead of {values[-1]:.4g} on these "
            "data; a model that is smaller by the rounds left out."
        ),
        risk=("The best round was chosen on these very data: expect a little less on new ones."),
        evidence=[
            Evidence(
                statistic="validation_rise",
                value=turn.rise,
                threshold=settings.overfit_share * turn.gained,
                comparison="above",
                n=turn.n,
                unit=validation.metric,
                p_value=turn.p_value,
                test="rise from the minimum against a driftless walk (Lévy), Newey-West variance",
            ),
            Evidence(
                statistic="best_round",
                value=best,
                threshold=turn.n,
                comparison="below",
                n=turn.n,
                unit="rounds",
                interval=(turn.low + 1, turn.high + 1),
                test="rounds that cannot be told from the best",
            ),
        ],
        fixes=[
            edit_parameter(figures.facts, "early_stopping_rounds", patience, preferred=True),
            edit_parameter(figures.facts, "num_boost_round", best),
            suppress(),
        ],
    )


def _meanwhile(figures: TreeFigures, best: int) -> str | None:
    """What training did since the best round, in words; None where it improved no more."""
    training, validation = figures.training, figures.validation
    if training is None or validation is None or training.metric != validation.metric:
        return ""
    falling = training.falling
    if falling.size <= best or falling[-1] >= falling[best]:
        return None
    return (
        f", while {training.data} went on from {training.values[best]:.4g} to "
        f"{training.values[-1]:.4g}"
    )
