"""Which rows never seen are still to come, and which would not come in as long again."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from gradtracer.statistics.exposure import Halfway
from gradtracer.statistics.look_up_spectrum import Counts, LookUpSpectrum, spectrum_of

_TERMS = 16


class Unseen(NamedTuple):
    """Rows without a look-up, split by what the exposure counts lead to expect."""

    unseen: int
    """Rows never looked up."""
    to_come: float
    """Those that as many look-ups again would reach."""
    error: float
    """Standard error of `to_come` as a forecast, at least one row."""
    look_ups: int
    """Look-ups counted."""

    @property
    def dead(self) -> float:
        """Estimate of the rows that would still be unseen after twice the look-ups."""
        return max(0.0, self.unseen - self.to_come)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `dead`."""
        low = self.unseen - self.to_come - 1.96 * self.error
        high = self.unseen - self.to_come + 1.96 * self.error
        return max(0.0, low), min(float(self.unseen), max(0.0, high))

    def confidence_above(self, rows: float) -> float:
        """Probability, under a normal law, that more than `rows` rows are dead."""
        z = (self.unseen - self.to_come - rows) / self.error
        return 0.5 * math.erfc(-z / math.sqrt(2))


def unseen_rows(
    counts: Counts | LookUpSpectrum,
    halfway: Halfway | None = None,
    *,
    valid: int | None = None,
) -> Unseen:
    """Expected number of new rows in as many look-ups again, from the counts so far.

    Good and Toulmin (Biometrika 43, 1956) at t = 1: sum over k of (-1)^(k+1) f_k, where f_k rows
    were seen k times. It supposes nothing about how popular the rows are, which matters here: under
    a heavy tail, estimators of a total number of classes are only lower bounds. Binomial weights
    h_k = P(Bin(16, 1/2) >= k) smooth the tail (Efron and Thisted, Biometrika 63, 1976). The
    variance is sum h_k^2 f_k, as the f_k are near independent Poisson counts, plus that of the rows
    to come, which are such a count too.

    This supposes independent draws. Shuffled epochs are more even than that, and after whole epochs
    the alternating sum is about nothing at all. So it is bounded by what was seen: a row of rate x
    (expected look-ups so far) is new after a share c of them with e^-cx - e^-x, and new in as many
    again with e^-x - e^-2x, which is at most 1/(1 - c) of that for every x. Hence no popularity law
    brings more new rows than 1/(1 - c) of those that came since c. The figure with the lower upper
    limit is given.

    Args:
        counts: `[N]` look-ups of each row, or their spectrum. All zeros: everything is still to
            come.
        valid: rows that can be looked up, where some of those without a look-up cannot.
        halfway: rows new since a share c of the look-ups, where known.
    """
    spectrum = spectrum_of(counts)
    unseen = (spectrum.size if valid is None else valid) - spectrum.seen
    look_ups = spectrum.total
    if look_ups == 0:
        return Unseen(unseen, float(unseen), 1.0, 0)
    rare = spectrum.look_ups <= _TERMS
    frequency = np.zeros(_TERMS)
    frequency[spectrum.look_ups[rare].astype(int) - 1] = spectrum.rows[rare]
    weight = _weights()
    to_come = min(max(float((weight * frequency).sum()), 0.0), float(unseen))
    error = math.sqrt(max(1.0, float((weight**2 * frequency).sum()) + to_come))
    if halfway is not None:
        bound = min(halfway.since / (1.0 - halfway.share), float(unseen))
        # Both the rows since and those to come are Poisson counts; none seen is not none ever.
        spread = math.sqrt((halfway.since + 1.0) / (1.0 - halfway.share) ** 2 + bound)
        if bound + 1.96 * spread < to_come + 1.96 * error:
            return Unseen(unseen, bound, spread, look_ups)
    return Unseen(unseen, to_come, error, look_ups)


@lru_cache(maxsize=1)
def _weights() -> npt.NDArray[np.float64]:
    k = np.arange(1, _TERMS + 1)
    return np.asarray((-1.0) ** (k + 1) * stats.binom.sf(k - 1, _TERMS, 0.5), dtype=np.float64)
