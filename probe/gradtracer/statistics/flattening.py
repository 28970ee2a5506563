"""How strongly examples must be weighted for exposure to be no more uneven than a limit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEPS = 20


def flattening_power(counts: npt.NDArray[np.integer], limit: float) -> float:
    """Smallest power p, in steps of 0.05, at which weights of count^-p bring Gini to `limit`.

    Examples of a row are then drawn in proportion to count^(1 - p); p = 1 makes all rows equal.
    `counts`: `[N]` look-ups; rows without any are left out. 0.05 for fewer than two rows.
    """
    seen = np.sort(counts[counts > 0]).astype(np.float64)
    for step in range(1, _STEPS):
        if _gini(seen ** (1.0 - step / _STEPS)) <= limit:
            return step / _STEPS
    return 1.0


def _gini(x: npt.NDArray[np.float64]) -> float:
    """Of ascending positive values, as in `gini.py`; 0 for fewer than two."""
    n = x.size
    if n < 2:
        return 0.0
    return float(2 * (np.arange(1, n + 1) * x).sum() / (n * x.sum()) - (n + 1) / n)
