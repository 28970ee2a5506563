"""Inequality of exposure over rows: Gini coefficient and entropy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.integer]


class Gini(NamedTuple):
    """Gini coefficient with its jackknife standard error."""

    value: float
    error: float
    n: int


def gini(counts: Counts) -> Gini | None:
    """Gini coefficient of positive counts `[n]`; None for fewer than two rows.

    G = 2 sum(i x_(i)) / (n sum(x)) - (n + 1) / n over sorted x (Yitzhaki and Schechtman, The Gini
    Methodology, 2013). Standard error by the leave-one-row-out jackknife, in
    O(n log n): without row k the ranks above it fall by one.
    """
    x = np.sort(counts[counts > 0]).astype(np.float64)
    n = x.size
    if n < 2:
        return None
    rank = np.arange(1, n + 1)
    total, weighted = x.sum(), (rank * x).sum()
    value = 2 * weighted / (n * total) - (n + 1) / n
    above = total - np.cumsum(x)
    total_k, weighted_k = total - x, weighted - rank * x - above
    leave_one = 2 * weighted_k / ((n - 1) * total_k) - n / (n - 1)
    error = float(np.sqrt((n - 1) / n * np.square(leave_one - leave_one.mean()).sum()))
    return Gini(float(value), error, n)


def exposure_entropy(counts: Counts) -> float:
    """Shannon entropy, in nats, of the exposure distribution over rows; 0 with none seen."""
    x = counts[counts > 0].astype(np.float64)
    if x.size == 0:
        return 0.0
    p = x / x.sum()
    return float(-(p * np.log(p)).sum())


def lorenz_curve(counts: Counts, points: int = 33) -> list[float]:
    """Share of look-ups held by the rarest q of the rows seen, at `points` even steps of q."""
    x = np.sort(counts[counts > 0]).astype(np.float64)
    if x.size == 0:
        return []
    held = np.concatenate([[0.0], np.cumsum(x) / x.sum()])
    at = np.linspace(0.0, 1.0, points)
    return [float(v) for v in np.interp(at, np.linspace(0.0, 1.0, held.size), held)]
