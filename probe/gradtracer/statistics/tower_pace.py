"""How fast each tower moves, and whether towers move together: sums over followed steps.

The pace of a tower at a step is |dW| / |W| over its layers and over the rows of its tables that the
step's gradient reaches: a large table of which a batch touches little is not slow on that account.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

LAGS = 4
"""Followed this many steps either way."""
_LEAST = 1e-12
"""Pace and gradient norm of what does not move at all, so that a logarithm exists."""

_Array = npt.NDArray[np.float64]


class TowerBurst(NamedTuple):
    """Sums of one burst; never changed once made. Logarithms are natural."""

    first: int
    last: int
    pace: torch.Tensor
    """`[T]` float64: mean of log pace."""
    gradient: torch.Tensor
    """`[T]` float64: mean of log gradient norm."""
    steps: torch.Tensor
    """int64: steps in which both were finite."""


class TowerProducts(NamedTuple):
    """Sums over all bursts, of values less their burst's mean."""

    pace: torch.Tensor
    """`[2 LAGS + 1, T, T]` float64: sum of x_a(t) x_b(t + lag), lags from -LAGS up."""
    gradient: torch.Tensor
    """The same of log gradient norms."""
    steps: torch.Tensor
    """float64."""
    bursts: int


def logarithms(squares: torch.Tensor) -> torch.Tensor:
    """`[S, T]` squared values to their logarithms; zero becomes that of 1e-12."""
    return squares.clamp_min(_LEAST**2).log() / 2


def mean_of(values: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
    """`[S, T]` to `[T]`: mean over the sound ones of S steps; NaN where there are none."""
    return torch.where(sound[:, None], values, 0.0).sum(0) / sound.sum()


def lagged_products(values: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
    """`[S, T]` of consecutive steps to `[2 LAGS + 1, T, T]`; unsound steps add nothing."""
    x = torch.where(sound[:, None], values - mean_of(values, sound), 0.0)
    steps = len(x)
    found: list[torch.Tensor] = []
    for lag in range(-LAGS, LAGS + 1):
        early, late = x[max(0, -lag) : steps - max(0, lag)], x[max(0, lag) : steps + min(0, lag)]
        found.append(early.T @ late)
    return torch.stack(found)


class Correlation(NamedTuple):
    """Between two towers, at the lag where it is strongest."""

    value: float
    lag: int
    """In steps; positive where the second follows the first."""
    interval: tuple[float, float]
    """95 %, by Fisher's z."""
    p: float
    """Of no correlation at any lag: Fisher's z, Bonferroni over the lags."""
    n: int


def correlation(products: _Array, a: int, b: int, steps: int, bursts: int) -> Correlation | None:
    """Of towers `a` and `b`; None with fewer than 30 pairs of steps, or a tower that never varies.

    Fisher, On the probable error of a coefficient of correlation, Metron 1 (1921). Means are taken
    out within bursts, which costs one degree of freedom each and leaves trends (a schedule, a
    decaying loss) out of it: those move every tower alike.
    """
    scale = math.sqrt(products[LAGS, a, a] * products[LAGS, b, b])
    free = steps - bursts
    if free < 30 or not math.isfinite(scale) or scale <= 0:
        return None
    found: list[Correlation] = []
    for index, lag in enumerate(range(-LAGS, LAGS + 1)):
        # Fewer pairs at a lag: the sum shrinks with them, and is set right for it.
        pairs = steps - abs(lag) * bursts
        r = float(products[index, a, b]) / scale * steps / pairs
        r = min(max(r, -0.999999), 0.999999)
        error = 1.0 / math.sqrt(max(pairs - bursts - 3, 1))
        z = math.atanh(r)
        p = min(1.0, (2 * LAGS + 1) * 2 * float(stats.norm.sf(abs(z) / error)))
        reach = 1.96 * error
        found.append(Correlation(r, lag, (math.tanh(z - reach), math.tanh(z + reach)), p, pairs))
    return max(found, key=lambda each: abs(each.value))
