"""Which rows move much and get nowhere: a test per row, with false-discovery control."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from gradtracer.statistics.exposure_strata import exposure_strata

Array = npt.NDArray[np.float64]
Figures = npt.NDArray[np.floating]

MIN_EXPOSURES = 8
_GUARD = 0.5
_CLIP = -6.0
_DEGREES = 30
_RHO_NULL = -0.5
_MAX_PAIRS = 31
_FLAT = 0.05
"""Smallest spread of a log figure: peers within 5 % of each other are alike."""


class ZombieRows(NamedTuple):
    """Verdict over a table."""

    rows: npt.NDArray[np.int64]
    """Named rows, strongest first."""
    q_values: Array
    """Benjamini-Hochberg adjusted p-value of each named row, in its own test."""
    oscillating: npt.NDArray[np.bool_]
    """Whether the oscillation test named the row."""
    tested: int
    """Rows with enough tracked exposures."""
    unknown: int
    """Rows seen but with too few."""
    mean_rho: float
    """Mean agreement over tested rows; under steady noise 0, negative when alternating."""
    alternating_rho: float | None = None
    """Median agreement of the rows that the oscillation test named; None without any."""


def zombie_rows(
    look_ups: npt.NDArray[np.integer],
    exposures: npt.NDArray[np.integer],
    energy: Figures,
    noise: Figures,
    agreement: Figures,
    squared_norm: Figures,
    *,
    noise_fdr: float,
    oscillation_fdr: float,
) -> ZombieRows:
    """Name rows by noise against their peers, or by oscillation.

    Args:
        look_ups: `[N]` look-ups in all, which define the strata.
        exposures: `[N]` tracked steps that touched the row; below 8 it is unknown.
        energy: `[N]` E, in squared gradient units (see `noise_energy`).
        noise: `[N]` V, in the same units.
        agreement: `[N]` mean agreement of successive gradients, -1 to 1.
        squared_norm: `[N]` |w|^2 of the row. Where a figure is not finite the row is unknown.
        noise_fdr: level of Benjamini and Hochberg (JRSS B 57, 1995) for the noise arm.
        oscillation_fdr: the same for the oscillation arm.

    Noise arm: within strata of like exposure (half octaves of look-ups, merged to at least 200
    rows) robust z of log V plus z of -log |w|^2, each held above -6; p from Student t with 30
    degrees of freedom; the norm's z must be at least 0.5. A row of large noise that has attained a
    norm like its peers learns all the same.
    Oscillation arm: agreement rho against rho >= -0.5, Fisher's z over at most 31 pairs. The null
    allows for what SGD does to a healthy row: rho = -(learning rate x curvature) / 2.
    """
    ready = np.flatnonzero(exposures >= MIN_EXPOSURES)
    # Of those alone: in a large table most rows are looked up seldom.
    whole = energy[ready] + noise[ready]
    whole += squared_norm[ready]
    ready = ready[(energy[ready] > 0) & np.isfinite(whole)]
    unknown = int(np.count_nonzero(exposures) - ready.size)
    nothing = np.zeros(0, dtype=np.int64)
    if ready.size < 2:
        empty = np.zeros(0)
        return ZombieRows(nothing, empty, empty.astype(bool), int(ready.size), unknown, 0.0)
    rho = np.clip(agreement[ready].astype(np.float64), -1.0, 1.0)

    norm = squared_norm[ready].astype(np.float64)
    q_noise = _noise_arm(look_ups[ready], noise[ready].astype(np.float64), norm)
    pairs = np.minimum(exposures[ready] - 1, _MAX_PAIRS)
    fisher = (np.arctanh(np.clip(rho, -0.999999, 0.999999)) - np.arctanh(_RHO_NULL)) * np.sqrt(
        np.maximum(pairs - 3, 1)
    )
    q_oscillation = stats.false_discovery_control(stats.norm.cdf(fisher))

    named_noise = q_noise <= noise_fdr
    named_oscillation = q_oscillation <= oscillation_fdr
    named = np.flatnonzero(named_noise | named_oscillation)
    q = np.where(named_oscillation, np.minimum(q_noise, q_oscillation), q_noise)[named]
    order = np.argsort(q, kind="stable")
    return ZombieRows(
        ready[named][order],
        q[order],
        named_oscillation[named][order],
        int(ready.size),
        unknown,
        float(rho.mean()),
        float(np.median(rho[named_oscillation])) if named_oscillation.any() else None,
    )


def _noise_arm(look_ups: npt.NDArray[np.integer], noise: Array, squared_norm: Array) -> Array:
    stratum = exposure_strata(look_ups)
    tiny = np.finfo(np.float64).tiny
    loud = _robust_z(np.log(np.maximum(noise, tiny)), stratum)
    short = _robust_z(-np.log(np.maximum(squared_norm, tiny)), stratum)
    score = np.maximum(loud, _CLIP) + np.maximum(short, _CLIP)
    # The sum of two standard scores; its own spread is taken from the peers once more.
    p = stats.t.sf(_robust_z(score, stratum), _DEGREES)
    p[(short < _GUARD) | (loud <= 0)] = 1.0
    return np.asarray(stats.false_discovery_control(p), dtype=np.float64)


def _robust_z(values: Array, stratum: npt.NDArray[np.int64]) -> Array:
    """Z within each stratum, by median and the largest of three quantile spreads.

    The lower quantiles guard the spread against the very outliers that are looked for.
    """
    z = np.zeros_like(values)
    for label in np.unique(stratum):
        members = stratum == label
        x = values[members]
        low2, low16, median, high75 = np.quantile(x, [0.023, 0.16, 0.5, 0.75])
        spread = max(median - low16, (median - low2) / 2, (high75 - median) / 0.6745, _FLAT)
        z[members] = (x - median) / spread
    return z
