"""How much of a table's learning only takes back the random values that it began with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gradtracer.statistics.effective_rank import effective_rank
from gradtracer.statistics.staleness import RowCounts

SAMPLE = 1_024
"""Rows whose first values are kept."""
_GROUPS = 10
_T_975 = 2.262
_LEAST_ROWS = 32
_INDEPENDENT = 0.95


class StartShare(NamedTuple):
    """Of the rows in use, over all their entries."""

    taken_back: float
    """Share of their squared movement that goes from the first values straight towards zero."""
    error: float
    """Its delete-a-group jackknife error."""
    left: float
    """Share of their squared norm that the first values still hold."""
    left_error: float
    """Its delete-a-group jackknife error."""
    rows: int
    """Rows in the sample that were looked up."""
    start: float
    """Root mean square of their first values."""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `taken_back`, Student t with 9 degrees of freedom."""
        return _interval(self.taken_back, self.error)

    @property
    def left_interval(self) -> tuple[float, float]:
        """95 % interval of `left`, in the same way."""
        return _interval(self.left, self.left_error)


class StartSample:
    """The first values of some rows, on the table's device; reading them is the report's work."""

    def __init__(self, weight: torch.Tensor, seed: int) -> None:
        """Keep at most 1,024 rows of `weight`, `[N, D]`, drawn at random: O(sample)."""
        rows = int(weight.shape[0])
        drawn = np.random.default_rng(seed).permutation(min(rows, 64 * SAMPLE))[:SAMPLE]
        # Of a large table the same share of every stretch.
        spread = np.sort(drawn) * (rows // max(1, min(rows, 64 * SAMPLE)))
        self.rows = torch.from_numpy(spread).to(weight.device)
        self._start = weight.detach().index_select(0, self.rows).float()
        self._random: bool | None = None

    @property
    def random(self) -> bool:
        """Whether the first values look drawn independently: those of a trained table do not.

        By their effective rank, which independent entries bring to a known height.
        """
        if self._random is None:
            rank = effective_rank(
                self._start, torch.arange(len(self.rows), device=self.rows.device)
            )
            self._random = rank is not None and rank.interval[1] >= _INDEPENDENT * rank.null
        return self._random

    def stands(self, weight: torch.Tensor, counts: RowCounts) -> bool:
        """Whether rows of the sample are looked up, and all of these hold their first values."""
        used = torch.from_numpy(counts[self.rows.cpu().numpy()] > 0).to(self.rows.device)
        now = weight.detach().index_select(0, self.rows[used]).float()
        return len(now) > 0 and torch.equal(now, self._start[used])

    def read(self, weight: torch.Tensor, counts: RowCounts) -> StartShare | None:
        """Compare with `weight` now; None with fewer than 32 rows in use, or if not finite.

        With first values a, values b and movement d = b - a, over all entries of the rows that
        `counts` says were looked up: `taken_back` is the squared cosine of d and -a, which is 0 in
        the mean for a movement that does not know a, and for one along a; `left` is the squared
        cosine of a and b. A gradient that shrinks what it finds works against numbers that mean
        nothing; a decay does that for every row, those that are rarely met too.
        """
        used = np.flatnonzero(counts[self.rows.cpu().numpy()] > 0)
        if used.size < _LEAST_ROWS or not self.random:
            return None
        at = torch.from_numpy(used).to(self.rows.device)
        a = self._start.index_select(0, at)
        b = weight.detach().index_select(0, self.rows.index_select(0, at)).float()
        d = b - a
        sums = torch.stack([(a * d).sum(1), (a * a).sum(1), (d * d).sum(1), (b * b).sum(1)])
        each = sums.double().cpu().numpy()
        if not np.isfinite(each).all():
            return None
        whole = each.sum(1)
        if whole[1] <= 0 or whole[2] <= 0 or whole[3] <= 0:
            return None
        # Rows are drawn in no order of use, so every tenth is a group.
        parts = np.stack([each[:, group::_GROUPS].sum(1) for group in range(_GROUPS)])
        without = np.array([(_taken_back(whole - part), _left(whole - part)) for part in parts])
        spread = np.square(without - without.mean(0)).sum(0)
        error, left_error = np.sqrt((_GROUPS - 1) / _GROUPS * spread).tolist()
        return StartShare(
            _taken_back(whole),
            error,
            _left(whole),
            left_error,
            rows=int(used.size),
            start=float(np.sqrt(whole[1] / a.numel())),
        )


def _interval(share: float, error: float) -> tuple[float, float]:
    reach = _T_975 * error
    return max(0.0, share - reach), min(1.0, share + reach)


def _taken_back(sums: NDArray[np.float64]) -> float:
    along, start, moved, _ = sums
    return float(along**2 / (start * moved)) if along < 0 and start > 0 and moved > 0 else 0.0


def _left(sums: NDArray[np.float64]) -> float:
    along, start, _, now = sums
    return float((start + along) ** 2 / (start * now)) if start > 0 and now > 0 else 0.0
