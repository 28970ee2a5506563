"""Signal-to-noise ratio of a layer's gradient over steps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from gradtracer.statistics.by_layer import to_layers
from gradtracer.statistics.gradient_sample import WIDTH

_FIRST_LOOK = 32
_LOW, _HIGH = -0.5, 1.0 - 1e-6


class Directions(NamedTuple):
    """Sums over steps for L layers; another thread may read them."""

    steps: torch.Tensor
    """`[L]` float64: steps with a direction, N."""
    product: torch.Tensor
    """`[L]` float64: sum of u_t."""
    square: torch.Tensor
    """`[L]` float64: sum of u_t squared."""
    strongest: torch.Tensor
    """`[L]` float64: largest z met so far."""


class GradientDirections:
    """Do gradients of different steps point the same way? `[P]` weights of `[L]` layers.

    Each gradient's sample is scaled to length one, d_t, and multiplied with the sum of all earlier
    ones: u_t = <d_t, d_1 + ... + d_{t-1}>. Were a gradient noise around zero, u_t would have mean
    zero given all that went before, whatever the law of the noise: martingale differences, so that
    z = sum u / sqrt(sum u^2) is about standard normal (de la Pena, Lai and Shao, Self-normalized
    Processes, 2009, ch. 15). The elements of one gradient, which are not independent, play no part.
    """

    def __init__(self, weights: int, layers: int, device: torch.device) -> None:
        self._past = torch.zeros(weights, WIDTH, device=device, dtype=torch.float32)
        self._sums = Directions(
            *(torch.zeros(layers, dtype=torch.float64, device=device) for _ in Directions._fields)
        )

    def add(self, samples: torch.Tensor, sound: torch.Tensor, owner: torch.Tensor | None) -> None:
        """Take in a burst.

        Args:
            samples: `[S, P, 256]` of the gradients of S steps, of any length.
            sound: `[S, L]` bool: whether the layer had a finite gradient other than zero.
            owner: `[P]` the layer of each weight; None when each has its own.
        """
        each = sound if owner is None else sound[:, owner]
        z = torch.where(each[:, :, None], samples, 0.0)
        length = to_layers(z.square().sum(2), owner, sound.shape[1]).sqrt()
        sound = sound & torch.isfinite(length) & (length > 0)
        scale = torch.where(sound, 1.0 / length, 0.0)
        z = torch.nan_to_num(z * (scale if owner is None else scale[:, owner])[:, :, None])
        past = z.cumsum(0) - z + self._past
        u = to_layers((z * past).sum(2).double(), owner, sound.shape[1])
        self._past += z.sum(0)
        self._sums.product.add_(u.sum(0))
        self._sums.square.add_(u.square().sum(0))
        self._sums.steps.add_(sound.sum(0))
        self._look()

    def _look(self) -> None:
        """Note the strongest z so far."""
        sums = self._sums
        z = torch.where(sums.square > 0, sums.product / sums.square.sqrt(), 0.0)
        z = torch.where(sums.steps >= _FIRST_LOOK, z, 0.0)
        torch.maximum(sums.strongest, z, out=sums.strongest)

    def state_dict(self) -> dict[str, Any]:
        """Copies on the host."""
        return {"past": self._past.cpu().clone(), "sums": torch.stack(list(self._sums)).cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state of the same layers. Raises KeyError."""
        device = self._past.device
        self._past = state["past"].to(device, copy=True)
        self._sums = Directions(*state["sums"].to(device, copy=True).unbind())

    def published(self) -> Directions:
        """A copy for another thread."""
        return Directions(*(sum_.clone() for sum_ in self._sums))


class GradientSnr(NamedTuple):
    """|E g|^2 / tr Cov(g) of one step's gradient g, averaged over the run so far."""

    share: float
    """Mean cosine of two different steps' gradients: S / (S + V)."""
    error: float
    """Its standard error."""
    steps: int
    strongest: float
    """Largest z of the test for any signal, over the run so far."""

    @property
    def value(self) -> float:
        """The ratio itself."""
        return _snr(self.share)

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        return _snr(self.share - 1.96 * self.error), _snr(self.share + 1.96 * self.error)

    def probability_below(self, snr: float) -> float:
        """Probability, under the normal law of the test, that the true ratio is below `snr`."""
        limit = snr / (1.0 + snr)
        if self.error <= 0:
            return 1.0 if self.share < limit else 0.0
        return 0.5 * math.erfc(-(limit - self.share) / (self.error * math.sqrt(2)))


def gradient_snr(
    steps: float, product: float, square: float, strongest: float
) -> GradientSnr | None:
    """From one layer's sums; None with fewer than 32 steps.

    With g = s + noise, directions of two steps agree by |s|^2 / E|g|^2 on average, so the mean
    cosine over pairs, 2 sum u / (N (N - 1)), is S / (S + V): the inverse of the noise scale of
    McCandlish et al., An empirical model of large-batch training (2018), sec. 2.2, in batches. A
    direction that changes in the course of training lowers the mean.
    """
    if steps < _FIRST_LOOK or not math.isfinite(square):
        return None
    pairs = steps * (steps - 1) / 2
    return GradientSnr(product / pairs, math.sqrt(square) / pairs, int(steps), strongest)


def _snr(share: float) -> float:
    # Held short of a share of one, a gradient without noise: the wire has no infinity.
    share = min(max(share, _LOW), _HIGH)
    return share / (1.0 - share)
