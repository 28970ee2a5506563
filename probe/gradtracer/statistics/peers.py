"""Rows of like exposure, and how far a row's noise stands out among them.

Within strata of like exposure (half octaves of look-ups, merged to at least 200 rows) robust z of
log V plus z of -log |w|^2, each held above -6; p from Student t with 30 degrees of freedom; the
norm's z must be at least 0.5. A row of large noise that has attained a norm like its peers learns
all the same.

In few columns a norm is near nothing by chance: of D independent normal numbers P(|w|^2 < x) falls
as x^(D/2) only. There a norm counts for no more than that chance says of it (its z under the
chi-squared law of D degrees of freedom with the peers' median).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from gradtracer.statistics.exposure_strata import exposure_strata, half_octaves

Array = npt.NDArray[np.float64]
Figures = npt.NDArray[np.floating]
Places = npt.NDArray[np.int64]

SAMPLE = 16_384
"""Rows that stand for all in a larger table: a quantile of 200 of them is as good as one of 200
rows of a small table, and those have been tested (`bench_zombies.py`)."""
_GUARD = 0.5
_CLIP = -6.0
_DEGREES = 30
_FEW = 16
"""Columns from which on the chance that bounds a norm's z is below what its logarithm says."""
_FLAT = 0.05
"""Smallest spread of a log figure: peers within 5 % of each other are alike."""


class Followed(NamedTuple):
    """Some rows of a table and what was followed of them: arrays `[n]`."""

    rows: Places
    """Their numbers in the table."""
    look_ups: npt.NDArray[np.integer]
    """In all, which define the strata."""
    exposures: npt.NDArray[np.integer]
    """Tracked steps that touched the row; below 8 it is unknown."""
    energy: Figures
    """E, in squared gradient units (see `noise_energy`)."""
    noise: Figures
    """V, in the same units."""
    agreement: Figures
    """Mean agreement of successive gradients, -1 to 1."""
    squared_norm: Figures
    """|w|^2 of the row. Where a figure is not finite the row is unknown."""

    def of(self, some: Places) -> Followed:
        """Of `some` of the rows, by their places."""
        return Followed(
            self.rows[some],
            self.look_ups[some],
            self.exposures[some],
            self.energy[some],
            self.noise[some],
            self.agreement[some],
            self.squared_norm[some],
        )


class Sample(NamedTuple):
    """Rows that stand for all: arrays `[S]`, as in `Followed`."""

    look_ups: npt.NDArray[np.integer]
    noise: Figures
    squared_norm: Figures

    def of(self, some: Places) -> Sample:
        """`some` of them."""
        return Sample(self.look_ups[some], self.noise[some], self.squared_norm[some])

    def and_of(self, block: Followed) -> Sample:
        """These and those of a block."""
        return Sample(
            np.concatenate([self.look_ups, block.look_ups]),
            np.concatenate([self.noise, block.noise]),
            np.concatenate([self.squared_norm, block.squared_norm]),
        )


def sampled(blocks: Iterable[Followed], seed: int) -> Sample:
    """Of all rows of `blocks`, or of `SAMPLE` of them drawn without replacement.

    Those of the least random numbers, one drawn for each row: the same in blocks of any size.
    """
    random, nothing = np.random.default_rng(seed), np.zeros(0)
    keys, sample = nothing, Sample(nothing.astype(np.int64), nothing, nothing)
    for block in blocks:
        keys = np.concatenate([keys, random.random(block.rows.size)])
        sample = sample.and_of(block)
        if keys.size > SAMPLE:
            least = np.argpartition(keys, SAMPLE - 1)[:SAMPLE]
            keys, sample = keys[least], sample.of(least)
    return sample


class Peers:
    """What rows of each stratum are like, by rows that stand for all.

    Args:
        sample: those rows.
        columns: of the table, D.
    """

    def __init__(self, sample: Sample, columns: int) -> None:
        self._columns = columns
        look_ups, noise, squared_norm = sample
        stratum = exposure_strata(look_ups)
        self._octaves, first = np.unique(half_octaves(look_ups), return_index=True)
        self._strata = stratum[first]
        loud, short = _logarithm(noise), -_logarithm(squared_norm)
        self._loud, self._short = _Scale(loud, stratum), _Scale(short, stratum)
        score = _score(self._loud.z(loud, stratum), self._shortness(short, stratum))
        # The sum of two standard scores; its own spread is taken from the peers once more.
        self._score = _Scale(score, stratum)

    def p_values(
        self, look_ups: npt.NDArray[np.integer], noise: Figures, squared_norm: Figures
    ) -> Array:
        """`[n]` of any rows; 1 for those that are no louder, or not shorter, than their peers."""
        if not self._octaves.size:
            return np.ones(look_ups.size)
        place = np.searchsorted(self._octaves, half_octaves(look_ups), side="right") - 1
        stratum = self._strata[np.maximum(place, 0)]
        loud = self._loud.z(_logarithm(noise), stratum)
        short = self._shortness(-_logarithm(squared_norm), stratum)
        p = stats.t.sf(self._score.z(_score(loud, short), stratum), _DEGREES)
        p[(short < _GUARD) | (loud <= 0)] = 1.0
        return np.asarray(p, dtype=np.float64)

    def _shortness(self, short: Array, stratum: Places) -> Array:
        z = self._short.z(short, stratum)
        if self._columns >= _FEW:
            return z
        median = stats.chi2.median(self._columns)
        chance = stats.chi2.cdf(median * np.exp(self._short.below(short, stratum)), self._columns)
        bound = -stats.norm.ppf(np.maximum(chance, np.finfo(np.float64).tiny))
        return np.where(z > 0, np.minimum(z, bound), z)


class _Scale:
    """Median and spread in each stratum: the largest of three quantile spreads.

    The lower quantiles guard the spread against the very outliers that are looked for.
    """

    def __init__(self, values: Array, stratum: Places) -> None:
        labels = int(stratum.max()) + 1 if stratum.size else 0
        self._median, self._spread = np.zeros(labels), np.ones(labels)
        for label in np.unique(stratum):
            quantiles = np.quantile(values[stratum == label], [0.023, 0.16, 0.5, 0.75])
            low2, low16, median, high75 = quantiles
            self._median[label] = median
            self._spread[label] = max(
                median - low16, (median - low2) / 2, (high75 - median) / 0.6745, _FLAT
            )

    def z(self, values: Array, stratum: Places) -> Array:
        """`[n]` of any rows."""
        return (values - self._median[stratum]) / self._spread[stratum]

    def below(self, values: Array, stratum: Places) -> Array:
        """`[n]` how far they are below the median, as it is."""
        return self._median[stratum] - values


def _logarithm(figures: Figures) -> Array:
    return np.log(np.maximum(figures.astype(np.float64), np.finfo(np.float64).tiny))


def _score(loud: Array, short: Array) -> Array:
    return np.maximum(loud, _CLIP) + np.maximum(short, _CLIP)
