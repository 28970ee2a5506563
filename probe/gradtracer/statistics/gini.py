"""Inequality of exposure over rows: Gini coefficient and entropy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradtracer.statistics.look_up_spectrum import Counts, LookUpSpectrum, spectrum_of


class Gini(NamedTuple):
    """Gini coefficient with its jackknife standard error."""

    value: float
    error: float
    n: int


def gini(counts: Counts | LookUpSpectrum) -> Gini | None:
    """Gini coefficient of positive counts `[n]` or their spectrum; None for fewer than two rows.

    G = 2 sum(i x_(i)) / (n sum(x)) - (n + 1) / n over sorted x (Yitzhaki and Schechtman, The Gini
    Methodology, 2013). Standard error by the leave-one-row-out jackknife: without row k the ranks
    above it fall by one. Rows of equal counts are taken together: O(n), and memory for as many
    numbers as there are different counts.
    """
    x, times, _ = spectrum_of(counts)
    n = int(times.sum())
    if n < 2:
        return None
    last_rank = np.cumsum(times)
    total, weighted = (times * x).sum(), (x * times * (last_rank - (times - 1) / 2)).sum()
    value = 2 * weighted / (n * total) - (n + 1) / n
    above = total - np.cumsum(times * x)
    total_k, weighted_k = total - x, weighted - last_rank * x - above
    leave_one = 2 * weighted_k / ((n - 1) * total_k) - n / (n - 1)
    spread = np.square(leave_one - (times * leave_one).sum() / n)
    error = float(np.sqrt((n - 1) / n * (times * spread).sum()))
    return Gini(float(value), error, n)


def exposure_entropy(counts: Counts | LookUpSpectrum) -> float:
    """Shannon entropy, in nats, of the exposure distribution over rows; 0 with none seen."""
    x, times, _ = spectrum_of(counts)
    if x.size == 0:
        return 0.0
    p = x / (times * x).sum()
    return float(-(times * p * np.log(p)).sum())


def lorenz_curve(counts: Counts | LookUpSpectrum, points: int = 33) -> list[float]:
    """Share of look-ups held by the rarest q of the rows seen, at `points` even steps of q."""
    x, times, _ = spectrum_of(counts)
    if x.size == 0:
        return []
    held = np.concatenate([[0.0], np.cumsum(times * x) / (times * x).sum()])
    rows = np.concatenate([[0.0], np.cumsum(times) / times.sum()])
    return [float(v) for v in np.interp(np.linspace(0.0, 1.0, points), rows, held)]
