"""From which round on the validation metric turns: a change point with its interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import Floats

TURNED = 0.01
"""p-value below which a metric has turned."""
_MIN_AFTER = 10


class Divergence(NamedTuple):
    """A series from its best round to its end, where lower is better."""

    best: int
    """Round of the best value, from 0."""
    low: int
    """First round that cannot be told from the best one at 95 %."""
    high: int
    """Last such round."""
    rise: float
    """Last value less the best one; at least 0."""
    gained: float
    """First value less the best one; at least 0."""
    noise: float
    """Standard deviation by which the values wander in a round, drift apart."""
    jitter: float
    """Standard deviation of an increment, drift apart."""
    p_value: float
    """Of a rise as large if the metric only wandered."""
    n: int
    """Rounds."""


def divergence(values: Floats) -> Divergence | None:
    """Test whether `[T]` values rise after their minimum; None below 20 rounds or if not finite.

    The minimum of a wandering series lies below its end for no reason at all, so the rise is
    compared with what that selection gives. Under increments without drift the end less the
    minimum of a Brownian motion is distributed as |N(0, s^2 T)| (Lévy, 1948; Revuz and Yor,
    Continuous Martingales and Brownian Motion, ch. VI, theorem 2.3); a series that still falls is
    stochastically smaller. Values that jitter about a level do not wander, but have a lowest one
    all the same: of T pairs, with Bonferroni's bound. The larger of the two p-values counts.
    """
    n = values.size
    if n < 20 or not np.isfinite(values).all():
        return None
    best = int(values.argmin())
    steps = np.diff(values)
    noise, jitter = wandering(steps[best:] if steps.size - best >= _MIN_AFTER else steps)
    rise = float(values[-1] - values[best])
    if rise <= 0 or n - 1 - best < _MIN_AFTER:
        p_value = 1.0
    elif jitter <= 0:
        p_value = 0.0
    else:
        wander = math.erfc(rise / (noise * math.sqrt(2 * (n - 1)))) if noise > 0 else 0.0
        p_value = max(wander, min(1.0, 0.5 * n * math.erfc(rise / (jitter * math.sqrt(2)))))
    low, high = _like_the_best(values, best, noise, jitter)
    return Divergence(
        best=best,
        low=low,
        high=high,
        rise=max(0.0, rise),
        gained=max(0.0, float(values[0] - values[best])),
        noise=noise,
        jitter=jitter,
        p_value=p_value,
        n=n,
    )


def wandering(steps: Floats) -> tuple[float, float]:
    """Long-run and plain standard deviation of increments `[n]` about their drift.

    The drift of a metric fades as training goes on, so it is a running mean over a tenth of the
    increments, at least five. The long run sums the covariances of increments up to
    4 (n/100)^(2/9) rounds apart with Bartlett weights (Newey and West, Econometrica 55, 1987).
    """
    n = steps.size
    width = min(n, max(5, n // 10))
    kernel = np.ones(width)
    near = np.convolve(np.ones(n), kernel, "same")
    x = steps - np.convolve(steps, kernel, "same") / near
    # The increment itself is one of those in its mean.
    x = x * np.sqrt(width / max(1, width - 1))
    lags = max(0, min(int(4 * (n / 100) ** (2 / 9)), (width - 2) // 2))
    spread = plain = float(x @ x)
    for lag in range(1, lags + 1):
        spread += 2 * (1 - lag / (lags + 1)) * float(x[lag:] @ x[:-lag])
    # So are its neighbours, whose covariances the mean has lowered too.
    spread *= (width - 1) / max(1, width - 1 - lags)
    return math.sqrt(max(0.0, spread) / n), math.sqrt(plain / n)


def _like_the_best(values: Floats, best: int, noise: float, jitter: float) -> tuple[int, int]:
    far = np.abs(np.arange(values.size) - best)
    alike = values - values[best] <= 1.96 * np.sqrt(jitter**2 + noise**2 * far)
    below, above = np.flatnonzero(~alike[:best]), np.flatnonzero(~alike[best:])
    low = int(below[-1]) + 1 if below.size else 0
    high = best + int(above[0]) - 1 if above.size else values.size - 1
    return low, high


def settled_from(values: Floats, tolerance: float) -> int:
    """First round from which on every value is within `tolerance` of the last one."""
    away = np.flatnonzero(np.abs(values - values[-1]) > tolerance)
    return int(away[-1]) + 1 if away.size else 0
