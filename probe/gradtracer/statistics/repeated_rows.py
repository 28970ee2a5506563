"""Rows that several look-ups of a few steps name: their exposures in order.

In numpy, as these are many operations on few numbers, on the host's own memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Indices = npt.NDArray[np.int64]


class RepeatedRows(NamedTuple):
    """R rows with E exposures; an exposure is a row in a step, however often the step names it."""

    winner: Indices
    """`[R]` the occurrence that stands for each row."""
    head: Indices
    """`[R]` the row's first exposure; the others follow it."""
    length: Indices
    """`[R]` exposures of the row."""
    place: Indices
    """`[E]` the occurrence that stands for the exposure."""
    examples: Indices
    """`[E]` occurrences in the exposure."""
    start: Indices
    """`[E]` where the exposure's occurrences begin in `occurrence`."""
    occurrence: Indices
    """`[O]` the occurrences by row, then by step."""

    def average(self, values: torch.Tensor, *, whole: bool) -> None:
        """Write the mean of each exposure's values to the place that stands for it.

        Args:
            values: `[n, K]` float32 on the host.
            whole: each occurrence holds the sum already.
        """
        place = torch.from_numpy(self.place)
        if whole:
            sums = values.index_select(0, place).numpy()
        else:
            parts = values.index_select(0, torch.from_numpy(self.occurrence)).numpy()
            sums = np.add.reduceat(parts, self.start, axis=0)
        sums /= self.examples[:, np.newaxis].astype(np.float32)
        values.index_copy_(0, place, torch.from_numpy(sums))


def repeated_rows(winner: Indices, loses: Indices, bounds: Sequence[int]) -> RepeatedRows:
    """Order the exposures of rows with two occurrences or more by row, then by step.

    Args:
        winner: `[n]` for each occurrence, the one that stands for its row.
        loses: `[L]` the occurrences that do not stand for their row, one at least.
        bounds: where each step begins among the occurrences, and where the last one ends.
    """
    heads = winner[loses]
    # Row and place in one number: a sort of numbers is much faster than one of their order.
    order = np.concatenate((heads << 32 | loses, np.unique(heads) * (1 << 32 | 1)))
    order.sort()
    row, occurrence = order >> 32, order & 0xFFFFFFFF
    row_begins = np.ones(row.size, dtype=bool)
    np.not_equal(row[1:], row[:-1], out=row_begins[1:])
    step = np.searchsorted(bounds, occurrence, side="right")
    begins = row_begins.copy()
    begins[1:] |= step[1:] != step[:-1]
    start = np.flatnonzero(begins)
    head = np.flatnonzero(row_begins[start])
    return RepeatedRows(
        winner=row[start[head]],
        head=head,
        length=np.diff(head, append=start.size),
        place=occurrence[start],
        examples=np.diff(start, append=row.size),
        start=start,
        occurrence=occurrence,
    )
