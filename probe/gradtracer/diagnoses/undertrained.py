"""UNDERTRAINED: the run ended while it was still learning (statistics/trend.py)."""

from __future__ import annotations

from gradtracer.analyzers.training_figures import TrainingFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.learning_curve import Curve
from gradtracer.settings import Settings
from gradtracer.statistics.trend import Trend, late_trend, quarter_of
from gradtracer_schemas import Evidence, FixOffer

_LEVEL = 0.05
_FACTOR = 2


def examine(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise at the end of a run whose later half still went at half of its mean pace.

    And whose last quarter had not fallen to half of that: where progress fades exponentially it
    then has three quarters of it.

    By a metric of held-out examples where one was told. By the training loss where that says
    nothing, which is weaker: a model may learn its examples by heart, so a held-out metric must not
    have been best before the last quarter.
    """
    if not figures.ended:
        return None
    held_out, loss = figures.validation, figures.loss
    if held_out is not None and (found := _late_gain(held_out, settings)) is not None:
        return _finding(held_out, *found, settings, held_out=True)
    if loss is None or (held_out is not None and not _best_of_late(held_out)):
        return None
    found = _late_gain(loss, settings)
    return None if found is None else _finding(loss, *found, settings, held_out=False)


def _late_gain(curve: Curve, settings: Settings) -> tuple[Trend, float] | None:
    """The trend of the later half and the mean gain from one value to the next of the whole.

    None where the run was at an end.
    """
    values = curve.falling
    trend = late_trend(values)
    if trend is None or trend.p_value > _LEVEL:
        return None
    mean = float(values[0] - values.min()) / (values.size - 1)
    least = settings.undertrained_pace * mean
    if mean <= 0 or -trend.slope < least or -trend.last_slope < least / 2:
        return None
    return trend, mean


def _best_of_late(curve: Curve) -> bool:
    values = curve.falling
    return int(values.argmin()) >= values.size - quarter_of(values)


def _finding(
    curve: Curve, trend: Trend, mean: float, settings: Settings, *, held_out: bool
) -> Finding:
    return Finding(
        type="UNDERTRAINED",
        severity="warning" if held_out else "information",
        confidence=1.0 - trend.p_value,
        premise=_premise(curve, trend, mean),
        implies="The run ended before it had learned what it could."
        + ("" if held_out else " The training loss alone says so, which is a weaker sign."),
        action="Train twice as many epochs, and stop early by a held-out metric.",
        expected_effect=(
            f"At the later half's pace {curve.name} would be "
            f"{_ahead(curve, trend):.4g} after half as many steps again."
        ),
        risk="Twice the time. Pace fades: expect less than the straight line says."
        + ("" if held_out else " And the model may begin to learn its examples by heart."),
        evidence=[
            Evidence(
                statistic="late_pace",
                value=-trend.slope / mean,
                threshold=settings.undertrained_pace,
                comparison="above",
                n=trend.n,
                interval=(-trend.high / mean, -trend.low / mean),
                p_value=trend.p_value,
                test="Mann-Kendall over the later half, at least four values; slope by Sen",
            )
        ],
        fixes=[
            FixOffer(fix="train-longer", parameters={"factor": _FACTOR}, preferred=True),
            suppress(),
        ],
    )


def _premise(curve: Curve, trend: Trend, mean: float) -> str:
    first = curve.values[-trend.n]
    return (
        f"{curve.name} went from {first:.4g} to {curve.values[-1]:.4g} over its last {trend.n} "
        f"values, up to step {curve.steps[-1]:,.0f}: at {-trend.slope / mean:.0%} of the run's "
        "mean pace, and not at an end."
    )


def _ahead(curve: Curve, trend: Trend) -> float:
    further = trend.slope * (trend.n - 1)
    return float(curve.values[-1] + (-further if curve.higher_is_better else further))
