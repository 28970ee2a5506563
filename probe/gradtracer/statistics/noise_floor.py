"""How far the size of the steps alone holds the loss above where the weights lie on average."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEAST_LOOKS = 12


class NoiseFloor(NamedTuple):
    """What the wandering of the weights costs."""

    excess: float
    """Mean loss at the weights as they were, less the loss at their mean; in units of the loss."""
    error: float
    """Its standard error."""
    looks: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, Student t over looks."""
        reach = float(stats.t.ppf(0.975, self.looks - 1)) * self.error
        return self.excess - reach, self.excess + reach

    def p_value_above(self, limit: float) -> float:
        """One-sided, of an excess that is `limit` or less."""
        if self.error <= 0:
            return 0.0 if self.excess > limit else 1.0
        return float(stats.t.sf((self.excess - limit) / self.error, self.looks - 1))


def noise_floor(
    weights: NDArray[np.float64],
    gradients: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> NoiseFloor | None:
    """From looks at the same coordinates; None with fewer than 12 that are finite.

    About the mean w of weights that wander, the loss is a parabola: L(w_t) - L(w) is half of
    <grad L(w_t), w_t - w>. The gradient g_t of a batch that was drawn after w_t is grad L(w_t) with
    noise that does not know w_t, so that <g_t, w_t - w> / 2 is in the mean what the wandering
    costs, under any optimizer: a relation between fluctuation and dissipation, as in Yaida, ICLR
    2019, eq. FDR1, and in Pflug's test (1990). A random part of the coordinates gives it without
    bias. `w` is estimated from the same looks: B / (B - 1). A drift adds what it descends, so the
    caller asks for a loss that lies still.

    Args:
        weights: `[B, C]` coordinates before the step, looks in their order.
        gradients: `[B, C]` the gradient of that step at the same coordinates, 0 where there is
            none.
        scale: `[C]` coordinates that each stands for.
    """
    sound = np.isfinite(weights).all(1) & np.isfinite(gradients).all(1)
    count = int(sound.sum())
    if count < LEAST_LOOKS:
        return None
    away = weights[sound] - weights[sound].mean(0)
    each = 0.5 * count / (count - 1) * (gradients[sound] * away * scale).sum(1)
    return NoiseFloor(float(each.mean()), _error(each), count)


def _error(each: NDArray[np.float64]) -> float:
    """Of the mean of looks that may hang together: wider by their correlation with the next."""
    away = each - each.mean()
    square = float(away @ away)
    if square <= 0:
        return 0.0
    along = min(0.9, max(0.0, float(away[1:] @ away[:-1]) / square))
    wider = math.sqrt((1 + along) / (1 - along))
    return wider * math.sqrt(square / (each.size * (each.size - 1)))
