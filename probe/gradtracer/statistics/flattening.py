"""How strongly examples must be weighted for exposure to be no more uneven than a limit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gradtracer.statistics.look_up_spectrum import Counts, LookUpSpectrum, spectrum_of

_STEPS = 20


def flattening_power(counts: Counts | LookUpSpectrum, limit: float) -> float:
    """Smallest power p, in steps of 0.05, at which weights of count^-p bring Gini to `limit`.

    Examples of a row are then drawn in proportion to count^(1 - p); p = 1 makes all rows equal.
    `counts`: `[N]` look-ups, or their spectrum; rows without any are left out. 0.05 for fewer than
    two rows.
    """
    seen, times, _ = spectrum_of(counts)
    for step in range(1, _STEPS):
        if _gini(seen ** (1.0 - step / _STEPS), times) <= limit:
            return step / _STEPS
    return 1.0


def _gini(x: npt.NDArray[np.float64], times: npt.NDArray[np.float64]) -> float:
    """Of ascending positive values, each so many times, as in `gini.py`; 0 for fewer than two."""
    n = times.sum()
    if n < 2:
        return 0.0
    rank = np.cumsum(times) - (times - 1) / 2
    return float(2 * (rank * times * x).sum() / (n * (times * x).sum()) - (n + 1) / n)
