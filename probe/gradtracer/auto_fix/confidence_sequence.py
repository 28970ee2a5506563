"""Difference between two arms of randomised rows, with an interval that holds at every look.

The rows of both arms are seen again and again, so what they show at one look says much about the
next: no sequence of independent observations, which betting and martingale methods ask for. What is
random is the assignment, once for each row. So look l has the interval of a randomised experiment
(difference of means, variance of Neyman, Statist. Sci. 5, 1990 [1923], degrees of freedom of Welch,
Biometrika 34, 1947) at level alpha / (l (l + 1)). These levels add up to alpha, so that all
intervals hold together with probability 1 - alpha, whatever the looks have in common (the union
over looks of Darling and Robbins, PNAS 58, 1967). With looks at geometrically growing times the
price is that of a law of the iterated logarithm (Howard et al., Ann. Statist. 49, 2021, section 3).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Array = npt.NDArray[np.float64]

_RESOLUTION = float(np.finfo(np.float32).eps)
"""Relative error of one outcome: the probe keeps its sums in float32. Rows that do the same differ
by that much, all in one direction: without it an interval would take their rounding for harm."""
FEWEST = 5
"""Rows in an arm, below which nothing is said."""
_TAIL = 0.025
"""Share of the values at either end of both arms together that is drawn in: a few wild rows would
widen the interval, and make the law of its ends another. Blind to the arms, so that nothing is
biased where they are alike."""
_POWER = 0.9


class Difference(NamedTuple):
    """Mean of the treated less mean of the held out."""

    value: float
    low: float
    high: float
    n_treated: int
    n_held_out: int


def difference(treated: Array, held_out: Array, *, alpha: float, look: int) -> Difference | None:
    """Difference of means at look number `look` (from 1); None with fewer than 5 rows in an arm.

    Args:
        treated: `[T]` outcomes; not finite ones are left out.
        held_out: `[H]` outcomes.
        alpha: probability that any look's interval misses the true difference.
        look: number of the look, which sets its share of `alpha`.
    """
    treated, held_out = treated[np.isfinite(treated)], held_out[np.isfinite(held_out)]
    if min(treated.size, held_out.size) < FEWEST:
        return None
    low, high = np.quantile(np.concatenate([treated, held_out]), [_TAIL, 1 - _TAIL])
    first, second = np.clip(treated, low, high), np.clip(held_out, low, high)
    parts = first.var(ddof=1) / first.size, second.var(ddof=1) / second.size
    variance = float(parts[0] + parts[1])
    value = float(first.mean() - second.mean())
    if variance > 0:
        weights = parts[0] ** 2 / (first.size - 1) + parts[1] ** 2 / (second.size - 1)
        quantile = float(stats.t.isf(alpha / (look * (look + 1)) / 2, variance**2 / weights))
        reach = quantile * math.sqrt(variance)
    else:
        reach = 0.0
    reach += 2 * _RESOLUTION * max(abs(float(low)), abs(float(high)))
    return Difference(value, value - reach, value + reach, first.size, second.size)


def smallest_effect(n_treated: int, n_held_out: int, *, alpha: float, look: int) -> float:
    """Documented size: what the interval of that look finds in at least nine runs of ten.

    In standard deviations of a row's outcome within its arm, tails included. Under a shift by x
    Welch's statistic is noncentral t with x / sqrt(1/T + 1/H) (T and H rows), and is found where it
    exceeds the quantile of `difference`; the noncentrality that does so with probability 0.9 is
    solved for. Drawing in the tails takes 5 % of a shift and, under the normal law, 4.5 % of the
    standard deviation, which is counted; where tails are heavier it takes more of the latter, and
    the size holds with some power to spare. At alpha = 0.05 / 3 (three statistics) and look 10:
    0.26 for 2,000 + 500 rows, 0.58 for 400 + 100, 1.46 for 80 + 20.

    Args:
        n_treated: T, at least 5.
        n_held_out: H, at least 5.
        alpha: as in `difference`.
        look: as in `difference`.
    """
    parts = 1 / n_treated, 1 / n_held_out
    variance = sum(parts)
    weights = parts[0] ** 2 / (n_treated - 1) + parts[1] ** 2 / (n_held_out - 1)
    degrees = variance**2 / weights
    quantile = float(stats.t.isf(alpha / (look * (look + 1)) / 2, degrees))

    def lacks(noncentrality: float) -> float:
        return float(stats.nct.sf(quantile, degrees, noncentrality)) - _POWER

    noncentrality = optimize.root_scalar(lacks, bracket=(0.0, 10.0 * quantile + 10.0)).root
    return float(noncentrality) * math.sqrt(variance) * _spread_when_drawn_in() / (1 - 2 * _TAIL)


def _spread_when_drawn_in() -> float:
    """Standard deviation of a standard normal with `_TAIL` drawn in at either end."""
    end = float(stats.norm.isf(_TAIL))
    inner = 1 - 2 * _TAIL - 2 * end * float(stats.norm.pdf(end))
    return math.sqrt(inner + 2 * _TAIL * end**2)
