"""Whether a short series still falls at its end, and how fast."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_LEAST = 4
"""Fewer points cannot be significant at 5 %: four in order have p = 1/24."""
_SHARE = 4


class Trend(NamedTuple):
    """The last quarter of a series in which lower is better."""

    p_value: float
    """One-sided, of no fall."""
    slope: float
    """Median change from one point to the next; below 0: it falls."""
    low: float
    high: float
    """95 % interval of `slope`."""
    n: int
    """Points."""


def late_trend(values: NDArray[np.float64]) -> Trend | None:
    """Trend of the last quarter of `[T]` values, four at least, or None.

    None with fewer than eight, of which four would not be late, or where one is not finite.

    Kendall's tau against the order of the points (Mann, Econometrica 13, 1945), which asks for no
    law of the noise and is exact for few points without ties; slope and interval by Theil and Sen
    (Sen, JASA 63, 1968). Points that hang together make the test too sure of a trend, so the
    caller gives means over epochs or over equal shares of the steps.
    """
    last = values[-max(_LEAST, values.size // _SHARE) :]
    if values.size < 2 * _LEAST or not np.isfinite(last).all():
        return None
    if float(last.max()) == float(last.min()):
        return Trend(1.0, 0.0, 0.0, 0.0, int(last.size))
    places = np.arange(last.size, dtype=np.float64)
    tau: Any = stats.kendalltau(places, last, alternative="less")
    sen: Any = stats.theilslopes(last, places, alpha=0.95)
    numbers = (tau.pvalue, sen.slope, sen.low_slope, sen.high_slope)
    return Trend(*(float(number) for number in numbers), n=int(last.size))
