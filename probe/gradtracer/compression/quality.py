"""The user's metric before and after, and how sure the difference is.

Where the metric comes as one value a user (or query, or batch), both models were scored on the same
ones, and the interval of the ratio of their means is by paired bootstrap over them (Efron 1979;
Sakai, SIGIR 2006, for rankings). A metric that is one number has no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from gradtracer.exceptions import UsageError

Evaluate = Callable[[nn.Module], Any]
"""Larger is better: a number, or an array or tensor `[n]` with one value a user."""
_DRAWS = 2000
_SAME = 1e-3
"""Mean difference, as a share of the mean, that rounding may make: it reorders near ties."""


class Ratio(NamedTuple):
    """Quality after / quality before."""

    value: float
    interval: tuple[float, float] | None
    """Two-sided, so that each end is one-sided at `confidence`; None for a single number."""
    standard_error: float
    """0 for a single number."""

    @property
    def elsewhere(self) -> float:
        """What as many users who were not asked would be expected to give at least.

        At the level of the interval's lower end. Both those asked and those not are a sample, so
        that the difference has twice the variance of one (the prediction interval of a mean).
        """
        return (
            self.value
            if self.interval is None
            else self.value - 2**0.5 * (self.value - self.interval[0])
        )


def last_above(ratios: Sequence[Ratio], floor: float, confidence: float) -> int | None:
    """Position of the last quality that is surely above a floor, among users who were not asked.

    Several are looked at, so each has its own share of the chance of error: half of it the first,
    the rest in equal parts; what one did not fail passes its share on to the next (the fallback
    procedure of Wiens, Pharmaceutical Statistics 2003). So one that narrowly fails does not hide
    another behind it that is far above, and the chance that any is told wrongly stays as asked.

    Args:
        ratios: From the safest on.
        floor: Least ratio.
        confidence: That none is told wrongly; one-sided.
    """
    error = 1.0 - confidence
    carried, found = error / 2, None
    for at, ratio in enumerate(ratios):
        if at:
            carried += error / 2 / (len(ratios) - 1)
        least = ratio.value - 2**0.5 * float(stats.norm.isf(carried)) * ratio.standard_error
        if least >= floor:
            found = at
        else:
            carried = 0.0
    return found


def values_of(evaluate: Evaluate, model: nn.Module) -> NDArray[np.float64]:
    """What the metric says, `[n]` or `[1]`.

    Raises:
        UsageError: it is no number, or not finite.
    """
    result = evaluate(model)
    if hasattr(result, "detach"):
        result = result.detach().cpu().numpy()
    try:
        values = np.asarray(result, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise UsageError(
            "evaluate: expected a number or one value a user, got "
            f"{type(result).__name__}; e.g. evaluate=lambda model: ndcg_of_each_user(model)"
        ) from None
    if not len(values) or not np.isfinite(values).all():
        raise UsageError("evaluate: expected finite values, got none or NaN")
    return values


def same(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether two models' values, one a user, differ by rounding alone."""
    if after.shape != before.shape:
        return False
    return bool(np.abs(after - before).mean() <= _SAME * np.abs(before).mean())


def compare(before: NDArray[np.float64], after: NDArray[np.float64], confidence: float) -> Ratio:
    """Ratio of the means of paired values `[n]`.

    Args:
        before: Of the model as it was; its mean must be positive.
        after: Of the same users.
        confidence: One-sided, of each end of the interval.

    Raises:
        UsageError: not as many values, or a quality of nothing.
    """
    if before.shape != after.shape:
        raise UsageError(
            f"evaluate: expected as many values each time, got {len(before)} and {len(after)}"
        )
    mean = float(before.mean())
    if mean <= 0:
        raise UsageError(f"evaluate: expected a quality above 0 to compare with, got {mean:g}")
    value = float(after.mean()) / mean
    if len(before) == 1:
        return Ratio(value, None, 0.0)
    g = np.random.default_rng(0)
    counts = g.multinomial(len(before), np.full(len(before), 1 / len(before)), size=_DRAWS)
    below = counts @ before
    drawn = (counts @ after)[below > 0] / below[below > 0]
    low, high = np.quantile(drawn, [1 - confidence, confidence])
    return Ratio(value, (float(low), float(high)), float(drawn.std()))
