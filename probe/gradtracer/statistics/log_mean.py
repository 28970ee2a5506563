"""Mean of a positive quantity over steps, on the log scale, with Student's interval."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy import stats


class LogMean(NamedTuple):
    """Geometric mean over n steps."""

    log: float
    """Natural logarithm of the mean."""
    error: float
    """Its standard error."""
    n: int

    @property
    def value(self) -> float:
        """The mean itself."""
        return _exp(self.log)

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        reach = float(stats.t.ppf(0.975, self.n - 1)) * self.error
        return _exp(self.log - reach), _exp(self.log + reach)

    def probability_above(self, limit: float) -> float:
        """Probability, under the t law, that the true mean is above `limit`."""
        distance = self.log - math.log(limit)
        if self.error <= 0:
            return 1.0 if distance > 0 else 0.0
        return float(stats.t.cdf(distance / self.error, self.n - 1))


def log_mean(total: float, squares: float, n: float) -> LogMean | None:
    """From sums of logarithms and their squares; None with fewer than three terms."""
    if n < 3 or not math.isfinite(squares):
        return None
    mean = total / n
    variance = max(0.0, squares / n - mean * mean) * n / (n - 1)
    return LogMean(mean, math.sqrt(variance / n), int(n))


def _exp(x: float) -> float:
    return math.exp(min(max(x, -700.0), 700.0))
