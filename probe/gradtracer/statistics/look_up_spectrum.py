"""How many rows of a table have each number of look-ups: all that inequality asks of the counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.integer]

_DENSE = 2**16
"""Counts below it are told apart by a table, larger ones by sorting."""


class LookUpSpectrum(NamedTuple):
    """The V different positive counts, ascending, and how many rows have each."""

    look_ups: npt.NDArray[np.float64]
    """`[V]` whole numbers."""
    rows: npt.NDArray[np.float64]
    """`[V]` whole numbers, positive."""
    size: int
    """Rows of the table, those never looked up too."""

    @property
    def total(self) -> int:
        """Look-ups of all rows."""
        return int((self.look_ups * self.rows).sum())

    @property
    def seen(self) -> int:
        """Rows with a look-up."""
        return int(self.rows.sum())

    def share_of_head(self, one_in: int) -> float:
        """Share of all look-ups that the most frequent of the rows seen take: 1 in `one_in`.

        One row at least; 0 with none seen.
        """
        if self.look_ups.size == 0:
            return 0.0
        head = max(1, self.seen // one_in)
        rows, look_ups = self.rows[::-1], self.look_ups[::-1]
        before = np.cumsum(rows) - rows
        taken = np.clip(head - before, 0.0, rows)
        return float((taken * look_ups).sum() / (rows * look_ups).sum())


def look_up_spectrum(blocks: Iterable[Counts]) -> LookUpSpectrum:
    """Of counts that come in blocks, in any order.

    O(N), in the memory of one block, of 65,536 numbers, and of the different counts above them.
    """
    dense = np.zeros(_DENSE, dtype=np.int64)
    size, large = 0, [np.zeros((2, 0), dtype=np.int64)]
    for counts in blocks:
        size += counts.size
        few = counts < _DENSE
        times = np.bincount(counts if few.all() else counts[few])
        dense[: times.size] += times
        if not few.all():
            large.append(np.stack(np.unique(counts[~few], return_counts=True)).astype(np.int64))
    dense[0] = 0
    below = np.flatnonzero(dense)
    values, times = np.concatenate(large, axis=1)
    above, place = np.unique(values, return_inverse=True)
    return LookUpSpectrum(
        np.concatenate([below, above]).astype(np.float64),
        np.concatenate([dense[below], np.bincount(place, times, above.size)]).astype(np.float64),
        size,
    )


def spectrum_of(counts: Counts | LookUpSpectrum) -> LookUpSpectrum:
    """Of counts that are in one array `[N]`; a spectrum is its own."""
    if isinstance(counts, LookUpSpectrum):
        return counts
    return look_up_spectrum([counts])
