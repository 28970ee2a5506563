"""Whether a short series still falls at its end, and how fast."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_LEAST = 4
"""Fewer points cannot be significant at 5 %: four in order have p = 1/24."""


class Trend(NamedTuple):
    """The later half of a series in which lower is better."""

    p_value: float
    """One-sided, of no fall."""
    slope: float
    """Median change from one point to the next; below 0: it falls."""
    low: float
    high: float
    """95 % interval of `slope`."""
    last_slope: float
    """The same median over the last quarter, four points at least."""
    n: int
    """Points of the later half."""


def late_trend(values: NDArray[np.float64]) -> Trend | None:
    """Trend of the later half of `[T]` values, or None.

    None with fewer than eight, of which four would not be late, or where one is not finite.

    Kendall's tau against the order of the points (Mann, Econometrica 13, 1945), which asks for no
    law of the noise and is exact for few points without ties; slope and interval by Theil and Sen
    (Sen, JASA 63, 1968). Points that hang together make the test too sure of a trend, so the
    caller gives means over epochs or over equal shares of the steps. The last quarter alone would
    be nearer to the end, but of twenty epochs it has five, of which a trend has to bring all but
    two neighbours into order: its slope is given, not tested.
    """
    late = values[values.size // 2 :]
    if values.size < 2 * _LEAST or not np.isfinite(late).all():
        return None
    if float(late.max()) == float(late.min()):
        return Trend(1.0, 0.0, 0.0, 0.0, 0.0, int(late.size))
    places = np.arange(late.size, dtype=np.float64)
    tau: Any = stats.kendalltau(places, late, alternative="less")
    sen: Any = stats.theilslopes(late, places, alpha=0.95)
    last = late[-quarter_of(values) :]
    end: Any = stats.theilslopes(last, places[: last.size])
    numbers = (tau.pvalue, sen.slope, sen.low_slope, sen.high_slope, end.slope)
    return Trend(*(float(number) for number in numbers), n=int(late.size))


def quarter_of(values: NDArray[np.float64]) -> int:
    """Points of the last quarter, four at least."""
    return max(_LEAST, values.size // 4)
