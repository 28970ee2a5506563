"""Paired comparison of an arm with the baseline: over seeds, and over users.

Seeds: an arm's mean NDCG@10 over users, one value a seed; the difference to the baseline with the
same seed by Student's t and by Wilcoxon's signed ranks. Users: each user's mean over seeds, alike.
The two ask different things: would another seed show it, would other users show it.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

K = 10
Array = npt.NDArray[np.float64]


class Comparison(NamedTuple):
    """An arm against the baseline; relative figures are shares of the baseline's mean."""

    seeds: int
    before: float
    after: float
    gain: float
    interval: tuple[float, float]
    """95 %, Student's t over seeds; it excludes 0 where `p_seeds_t` is below .05."""
    effect: float
    """Mean difference over its standard deviation over seeds (Cohen's d for pairs)."""
    p_seeds_t: float
    p_seeds_wilcoxon: float
    p_users_t: float
    p_users_wilcoxon: float


P_VALUES = ("p_seeds_t", "p_seeds_wilcoxon", "p_users_t", "p_users_wilcoxon")


def gains(ranks: list[list[int]]) -> tuple[Array, Array]:
    """NDCG@10 and HR@10 `[seeds, users]` of 0-based ranks."""
    at = np.asarray(ranks)
    hit = at < K
    return hit / np.log2(at + 2.0), hit.astype(np.float64)


def compare(before: Array, after: Array) -> Comparison:
    """Of `[seeds, users]`, paired in both. Raises ValueError with fewer than two seeds."""
    if before.shape != after.shape or len(before) < 2:
        raise ValueError(f"expected two or more paired seeds, got {before.shape}, {after.shape}")
    base = float(before.mean())
    seeds = (after - before).mean(axis=1)
    users = (after - before).mean(axis=0)
    mean, low, high, effect = _student(seeds / base)
    return Comparison(
        seeds=len(seeds),
        before=base,
        after=float(after.mean()),
        gain=mean,
        interval=(low, high),
        effect=effect,
        p_seeds_t=_t(seeds),
        p_seeds_wilcoxon=_wilcoxon(seeds),
        p_users_t=_t(users),
        p_users_wilcoxon=_wilcoxon(users),
    )


class Pooled(NamedTuple):
    """Relative gain of each seed, averaged over models."""

    seeds: int
    models: int
    gain: float
    interval: tuple[float, float]
    effect: float
    p_t: float
    p_wilcoxon: float


def pool(pairs: list[tuple[Array, Array]]) -> Pooled:
    """Of several models with the same seeds, each `[seeds, users]` before and after."""
    relative = np.stack([(b - a).mean(axis=1) / a.mean() for a, b in pairs])
    seeds: Array = relative.mean(axis=0)
    mean, low, high, effect = _student(seeds)
    return Pooled(len(seeds), len(pairs), mean, (low, high), effect, _t(seeds), _wilcoxon(seeds))


def holm(p_values: list[float]) -> list[float]:
    """Adjusted for the family (Holm, Scand. J. Statist. 6, 1979), in the order they came."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    found = np.empty_like(p)
    found[order] = np.minimum(adjusted, 1.0)
    return found.tolist()


def _student(x: Array) -> tuple[float, float, float, float]:
    """Mean, 95 % interval, mean over standard deviation."""
    mean, deviation = float(x.mean()), float(x.std(ddof=1))
    half = float(stats.t.ppf(0.975, len(x) - 1)) * deviation / len(x) ** 0.5
    return mean, mean - half, mean + half, mean / deviation if deviation > 0 else 0.0


def _t(x: Array) -> float:
    if not x.any():
        return 1.0
    with warnings.catch_warnings():
        # Differences that are all alike have no spread to test against.
        warnings.simplefilter("ignore", RuntimeWarning)
        p = float(stats.ttest_1samp(x, 0.0).pvalue)
    return p if np.isfinite(p) else 1.0


def _wilcoxon(x: Array) -> float:
    return float(stats.wilcoxon(x).pvalue) if x.any() else 1.0
