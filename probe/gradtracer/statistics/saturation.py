"""How much of the gradient the units of a saturating activation still pass."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

WINDOW = 64
"""Looks that are kept: a layer that has recovered is cleared after as many."""
MIN_LOOKS = 16
EXAMPLES = 256
"""Of a batch, or of its positions, that a look takes in."""


def slope(activation: str, out: torch.Tensor, limits: tuple[float, float]) -> torch.Tensor:
    """Derivative of an activation at each entry, relative to its largest, from its output `out`.

    float32 of the shape of `out`, on its device, 0 to 1; NaN where `out` is. Tanh has 1 - h^2,
    sigmoid h (1 - h) of at most 1/4; one that is cut off at `limits` has 1 between them.
    """
    h = out.float()
    match activation:
        case "Tanh":
            return 1.0 - h.square()
        case "Sigmoid":
            return 4.0 * h * (1.0 - h)
        case _:
            low, high = limits
            return ((h > low) & (h < high)).float()


class PassedGradient:
    """The last 64 looks at the U units of one layer, on its device.

    A look is a batch; of each unit it keeps the mean of `slope` over at most 256 examples, which is
    the share of a unit's gradient that comes through to the layer's weights where it does not
    depend on the activation. `[64, U]` float16: a mean of .05 is then known to a thousandth of it.
    """

    def __init__(self, units: int, device: torch.device) -> None:
        self._gains = torch.zeros(WINDOW, units, dtype=torch.float16, device=device)
        self.looks = 0

    def add(self, slopes: torch.Tensor) -> None:
        """Take in a batch's `[examples, U]`. O(256 U), nothing is read back."""
        every = max(1, slopes.shape[0] // EXAMPLES)
        mean = slopes[::every][:EXAMPLES].mean(0)
        self._gains[self.looks % WINDOW].copy_(mean)
        self.looks += 1

    def read(self) -> npt.NDArray[np.float64]:
        """`[looks, U]`, the last 64 at most, in no order; waits for the device."""
        return self._gains[: self.looks].double().cpu().numpy()

    def state_dict(self) -> dict[str, Any]:
        """Copies on the host."""
        return {"gains": self._gains.cpu().clone(), "looks": self.looks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state of the same units. Raises KeyError."""
        self._gains = state["gains"].to(self._gains.device, copy=True)
        self.looks = int(state["looks"])


class Saturation(NamedTuple):
    """What is known of one layer whose output enters a saturating activation."""

    activation: str
    """Class name of the activation in `torch.nn`."""
    units: int
    looks: int
    passed: float
    """Mean share of the gradient that the units pass."""
    share: float
    """Mean share of units that passed less than the limit, over looks."""
    error: float
    """Its standard error over looks."""
    saturated: npt.NDArray[np.int64]
    """Units that did so in most of the looks."""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `share`, Student t over looks."""
        reach = float(stats.t.ppf(0.975, self.looks - 1)) * self.error
        return max(0.0, self.share - reach), min(1.0, self.share + reach)

    def probability_above(self, limit: float) -> float:
        """Probability, under the t law, that the true share is above `limit`."""
        if self.error <= 0:
            return 1.0 if self.share > limit else 0.0
        return float(stats.t.cdf((self.share - limit) / self.error, self.looks - 1))


def saturation(activation: str, gains: npt.NDArray[np.float64], limit: float) -> Saturation | None:
    """Judge one layer's `[looks, U]` gains; None with fewer than 16 looks or no units.

    A unit that passes less than `limit` of its gradient is saturated (Glorot and Bengio, AISTATS
    2010, sec. 3: histograms of activations). A batch that is not finite counts as not saturated.
    """
    looks, units = gains.shape
    if looks < MIN_LOOKS or units == 0:
        return None
    low = gains < limit
    shares = low.mean(1)
    known = gains[np.isfinite(gains)]
    return Saturation(
        activation=activation,
        units=units,
        looks=looks,
        passed=float(known.mean()) if known.size else 0.0,
        share=float(shares.mean()),
        error=float(shares.std(ddof=1)) / math.sqrt(looks),
        saturated=np.flatnonzero(2 * low.sum(0) > looks),
    )
