"""Which rows move much and get nowhere: a test per row, with false-discovery control."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from gradtracer.statistics.peers import Followed, Peers, Places, sampled

Array = npt.NDArray[np.float64]

MIN_EXPOSURES = 8
_RHO_NULL = -0.5
_MAX_PAIRS = 31


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
    blocks: Callable[[], Iterable[Followed]],
    *,
    columns: int,
    noise_fdr: float,
    oscillation_fdr: float,
    seed: int = 0,
) -> ZombieRows:
    """Name rows by noise against their peers, or by oscillation.

    Takes the memory of one block, of a sample of the rows and of those whose p-value is below the
    levels: no other can be named, or change the adjusted p-value of one that is.

    Args:
        blocks: reads the rows, block by block; asked twice.
        columns: of the table; in few of them a norm near nothing is no wonder.
        noise_fdr: level of Benjamini and Hochberg (JRSS B 57, 1995) for the noise arm.
        oscillation_fdr: the same for the oscillation arm.
        seed: of the sample that stands for the peers, in tables with more rows than it holds.

    Noise arm: against the row's peers (`peers.py`).
    Oscillation arm: agreement rho against rho >= -0.5, Fisher's z over at most 31 pairs. The null
    allows for what SGD does to a healthy row: rho = -(learning rate x curvature) / 2.
    """
    tested, exposed, total = 0, 0, 0.0
    peers = Peers(sampled((_ready(block) for block in blocks()), seed), columns)
    level = max(noise_fdr, oscillation_fdr)
    kept = list[tuple[Places, Array, Array, Array]]()
    for block in blocks():
        exposed += int(np.count_nonzero(block.exposures))
        ready = _ready(block)
        rho = np.clip(ready.agreement.astype(np.float64), -1.0, 1.0)
        tested, total = tested + rho.size, total + float(rho.sum())
        noise = peers.p_values(ready.look_ups, ready.noise, ready.squared_norm)
        oscillation = _oscillation(rho, ready.exposures)
        low = np.flatnonzero(np.minimum(noise, oscillation) <= level)
        kept.append((ready.rows[low], noise[low], oscillation[low], rho[low]))
    if tested < 2:
        nothing = np.zeros(0)
        rows = np.zeros(0, dtype=np.int64)
        return ZombieRows(rows, nothing, nothing.astype(bool), tested, exposed - tested, 0.0)
    rows, noise, oscillation, rho = (np.concatenate(each) for each in zip(*kept, strict=True))
    q_noise, q_oscillation = _adjusted(noise, tested), _adjusted(oscillation, tested)
    oscillating = q_oscillation <= oscillation_fdr
    named = np.flatnonzero((q_noise <= noise_fdr) | oscillating)
    q = np.where(oscillating, np.minimum(q_noise, q_oscillation), q_noise)[named]
    order = np.argsort(q, kind="stable")
    return ZombieRows(
        rows[named][order],
        q[order],
        oscillating[named][order],
        tested,
        exposed - tested,
        total / tested,
        float(np.median(rho[oscillating])) if oscillating.any() else None,
    )


def _ready(block: Followed) -> Followed:
    ready = np.flatnonzero(block.exposures >= MIN_EXPOSURES)
    # Of those alone: in a large table most rows are looked up seldom.
    whole = block.energy[ready] + block.noise[ready]
    whole += block.squared_norm[ready]
    return block.of(ready[(block.energy[ready] > 0) & np.isfinite(whole)])


def _oscillation(rho: Array, exposures: npt.NDArray[np.integer]) -> Array:
    pairs = np.minimum(exposures - 1, _MAX_PAIRS)
    fisher = np.arctanh(np.clip(rho, -0.999999, 0.999999)) - np.arctanh(_RHO_NULL)
    return np.asarray(stats.norm.cdf(fisher * np.sqrt(np.maximum(pairs - 3, 1))))


def _adjusted(p: Array, tests: int) -> Array:
    """Benjamini-Hochberg adjusted, of `tests` p-values of which `p` are the smallest."""
    order = np.argsort(p)
    adjusted = np.minimum(p[order] * tests / np.arange(1, p.size + 1), 1.0)
    found = np.empty_like(p)
    found[order] = np.minimum.accumulate(adjusted[::-1])[::-1]
    return found
