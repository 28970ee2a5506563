"""How well predicted damage ranks what was measured, beside how well anything could.

NDCG@10 of some hundred users is itself an estimate: measured on one half of them, it ranks the same
candidates otherwise than on the other. That correlation r of random halves, taken to all users by
2r / (1 + r) (Spearman 1910, Brown 1910), is the reliability of what was measured, and its root the
most that a perfect prediction could correlate with it (Spearman 1904, "attenuation").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_HALVES = 40


class Agreement(NamedTuple):
    """Of a prediction with a measurement, over candidates."""

    rank: float
    """Spearman's correlation."""
    ceiling: float
    """What a perfect prediction would be expected to reach; 0 where the halves do not agree."""
    told_apart: int
    """Candidates whose damage differs from 0 by its interval, 90 % two-sided."""


def agreement(predicted: NDArray[np.float64], lost: NDArray[np.float64]) -> Agreement:
    """Compare.

    Args:
        predicted: `[candidates]`.
        lost: `[candidates, users]` quality before less quality after, of one user each.
    """
    g = np.random.default_rng(0)
    users = lost.shape[1]
    halves: list[float] = []
    for _ in range(_HALVES):
        order = g.permutation(users)
        one, other = (lost[:, part].mean(1) for part in np.array_split(order, 2))
        halves.append(spearman(one, other))
    half = float(np.mean(halves))
    reliability = max(0.0, 2 * half / (1 + half))
    error = lost.std(1, ddof=1) / users**0.5
    told = int((np.abs(lost.mean(1)) > stats.norm.ppf(0.95) * error).sum())
    return Agreement(spearman(predicted, lost.mean(1)), reliability**0.5, told)


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Rank correlation."""
    return float(stats.spearmanr(one, other).statistic)
