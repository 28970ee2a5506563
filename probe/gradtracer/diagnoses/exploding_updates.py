"""EXPLODING_UPDATES: a layer moves far more than it did, or outgrows itself within a burst."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from gradtracer.analyzers.layer_figures import LayerFigures
from gradtracer.diagnoses.finding import Finding, suppress
from gradtracer.diagnoses.learning_rate import reduce_rate
from gradtracer.settings import Settings
from gradtracer.statistics.step_history import Column
from gradtracer_schemas import Evidence, FixOffer

_MIN_EARLIER = 4
_MIN_MOVED = 8
_SPREAD_FLOOR = 0.15
"""Least standard deviation of a burst's log mean: bursts of a steady training differ by that."""
_LEVEL = 1e-3
_LEAST_GAIN = 3.0
_OVERWRITTEN = 3.0
"""The weights grew so much since: nine parts in ten of what they are came after."""
_LEAST_OF_THE_RATE = 0.01
"""Lower by no more at once: updates of a layer that has run away no longer follow the rate."""
_USUAL = 0.01
"""Upper end of the usual share of the weights that a step moves."""
_LEAST_GAIN_AT_START = 0.1

_Array = npt.NDArray[np.float64]


class _Case(NamedTuple):
    premise: str
    evidence: Evidence
    confidence: float
    usual: float = _USUAL
    """Share of the weights that a step should move."""


def examine(figures: LayerFigures, settings: Settings) -> Finding | None:
    """Raise for growth within a burst, growth between bursts, or a jump of the update ratio."""
    if figures.normalises or not len(figures.last):
        return None
    tests = (_grew_in_burst, _jumped, _grew_between_bursts)
    cases = [case for test in tests if (case := test(figures, settings)) is not None]
    if not cases:
        return None
    return Finding(
        type="EXPLODING_UPDATES",
        severity="warning",
        confidence=cases[0].confidence,
        premise=" ".join(case.premise for case in cases),
        implies=(
            "Steps of this size overwrite what the layer has learned; outputs and gradients of the "
            "layers around it grow with it, and may end in values that are not finite."
        ),
        action=_action(figures),
        expected_effect="Updates back at 0.1 to 1 % of the weights a step, and a loss that falls.",
        risk="A learning rate too small makes training slow; lower it by a factor of 3 at a time.",
        evidence=[case.evidence for case in cases],
        fixes=[*_fixes(figures, cases[0]), suppress()],
    )


def _fixes(figures: LayerFigures, case: _Case) -> list[FixOffer]:
    offers: list[FixOffer] = []
    now = case.evidence.value if case.evidence.statistic == "update_ratio" else 0.0
    if figures.optimizer is not None and figures.optimizer.lr > 0 and now > case.usual:
        # What would have moved it by the usual share, as far as the update follows the rate.
        share = max(case.usual / now, _LEAST_OF_THE_RATE)
        # The source says what a schedule began from, not what it is at now.
        lr = float(f"{figures.optimizer.base_lr * share:.0e}")
        offers.append(reduce_rate(figures.optimizer, lr, parameters=figures.layer, preferred=True))
    if figures.model.gradient_norm > 0:
        norm = float(f"{figures.model.gradient_norm:.1g}")
        offers.append(FixOffer(fix="clip-gradients", parameters={"max_norm": norm}))
    return offers


def _action(figures: LayerFigures) -> str:
    lr = f" (now {figures.optimizer.lr:g})" if figures.optimizer is not None else ""
    return (
        f"Lower the learning rate{lr}, warm it up over the first steps, or clip gradients with "
        "torch.nn.utils.clip_grad_norm_."
    )


def _grew_in_burst(figures: LayerFigures, settings: Settings) -> _Case | None:
    """Weights at least ten times larger after a burst than before, by large steps.

    Not for a layer that begins near zero, as some do on purpose, nor for one that stays at a
    usual scale: a gain of 1 passes on unit inputs at unit scale.
    """
    start, end = figures.ends[:, 0], figures.ends[:, 1]
    per_gain = 1.0 / math.sqrt(max(1, figures.units))
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = end / start
    for at in range(len(start)):
        if not (math.isfinite(growth[at]) and growth[at] >= settings.explosion_growth):
            continue
        if start[at] * per_gain < _LEAST_GAIN_AT_START or end[at] * per_gain < _LEAST_GAIN:
            continue
        mean = figures.update_ratio(slice(at, at + 1))
        if mean is None or end[-1] < 0.5 * end[at]:
            continue
        confidence = mean.probability_above(settings.explosion_ratio)
        if confidence < 0.95:
            continue
        steps = int(figures.sums[at, Column.STEPS])
        return _Case(
            f"From step {figures.first[at]:,} to {figures.last[at]:,} the weights grew to "
            f"{growth[at]:,.0f} times their norm, by updates of {mean.value:.1%} of the weights "
            f"a step on average over {steps} tracked steps.",
            Evidence(
                statistic="update_ratio",
                value=mean.value,
                threshold=settings.explosion_ratio,
                comparison="above",
                n=mean.n,
                interval=mean.interval,
                test="Student t over steps, on the log scale",
            ),
            confidence,
        )
    return None


def _jumped(figures: LayerFigures, settings: Settings) -> _Case | None:
    """The update ratio left the range of all earlier bursts, for good or over all there was."""
    moved = figures.column(Column.MOVED)
    used = moved >= _MIN_MOVED
    if used.sum() <= _MIN_EARLIER:
        return None
    x: _Array = figures.column(Column.LOG_RATIO)[used] / moved[used]
    last, first, ends = figures.last[used], figures.first[used], figures.ends[used]
    rise = math.log(settings.explosion_factor)
    for at in range(_MIN_EARLIER, len(x)):
        limit = float(x[:at].max()) + rise
        if x[at] <= limit or math.exp(x[at]) < settings.explosion_ratio:
            continue
        if x[-1] <= limit and ends[-1, 1] < _OVERWRITTEN * ends[at, 0]:
            continue
        p = _surprise(float(x[at]), x[:at])
        if p >= _LEVEL:
            continue
        typical = math.exp(float(np.median(x[:at])))
        low, high = _prediction(x[:at])
        now = (
            f"Since step {first[at]:,} an update moves"
            if x[-1] > limit
            else f"From step {first[at]:,} on the weights grew to {ends[-1, 1] / ends[at, 0]:,.0f} "
            "times their norm, as an update moved"
        )
        return _Case(
            f"{now} the layer by {math.exp(x[at]):.2g} of its "
            f"norm; over the {at} bursts up to step {last[at - 1]:,} it was {typical:.2g}, and a "
            f"burst was expected between {low:.2g} and {high:.2g}.",
            Evidence(
                statistic="update_ratio",
                value=math.exp(float(x[at])),
                threshold=math.exp(limit),
                comparison="above",
                n=at,
                p_value=p,
                test="Student t prediction from the layer's earlier bursts, on the log scale",
            ),
            1.0 - p,
            typical,
        )
    return None


def _grew_between_bursts(figures: LayerFigures, settings: Settings) -> _Case | None:
    """The weights' norm leapt from one burst to the next, against the layer's own history."""
    norm = figures.ends[:, 1]
    if len(norm) <= _MIN_EARLIER + 1 or not (np.isfinite(norm).all() and (norm > 0).all()):
        return None
    growth = np.diff(np.log(norm))
    gain = norm / math.sqrt(max(1, figures.units))
    for at in range(_MIN_EARLIER, len(growth)):
        leap = float(growth[at])
        if leap < math.log(settings.explosion_growth) or gain[at + 1] < _LEAST_GAIN:
            continue
        p = _surprise(leap, growth[:at])
        if p >= _LEVEL or norm[-1] < 0.5 * norm[at + 1]:
            continue
        return _Case(
            f"From step {figures.last[at]:,} to {figures.last[at + 1]:,} the weights grew to "
            f"{math.exp(leap):,.0f} times their norm.",
            Evidence(
                statistic="weight_growth",
                value=math.exp(leap),
                threshold=settings.explosion_growth,
                comparison="above",
                n=at,
                p_value=p,
                test="Student t prediction from the layer's earlier bursts, on the log scale",
            ),
            1.0 - p,
        )
    return None


def _spread(earlier: _Array) -> float:
    return max(float(earlier.std(ddof=1)), _SPREAD_FLOOR) * math.sqrt(1 + 1 / len(earlier))


def _surprise(x: float, earlier: _Array) -> float:
    """P(a burst like the earlier ones is at least `x`)."""
    return float(stats.t.sf((x - float(earlier.mean())) / _spread(earlier), len(earlier) - 1))


def _prediction(earlier: _Array) -> tuple[float, float]:
    reach = float(stats.t.ppf(0.975, len(earlier) - 1)) * _spread(earlier)
    middle = float(earlier.mean())
    return math.exp(middle - reach), math.exp(middle + reach)
