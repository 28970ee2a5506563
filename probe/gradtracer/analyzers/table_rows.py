"""A table's rows, read block by block: what a report looks at takes the memory of one block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_state import TableState, read_state

Counts = npt.NDArray[np.integer]

_BLOCK = 16_384
"""Rows in a block."""


class LookUps:
    """Look-ups of each row, read when they are asked for; 0 at `padding_idx`."""

    def __init__(
        self, rows: int, read: Callable[[int, int], Counts], padding_idx: int | None
    ) -> None:
        self._rows, self._read, self._padding_idx = rows, read, padding_idx

    def blocks(self) -> Iterator[Counts]:
        """All rows in their order."""
        for first in range(0, self._rows, _BLOCK):
            yield self.between(first, min(first + _BLOCK, self._rows))

    def all(self) -> Counts:
        """`[N]`, a copy."""
        return self.between(0, self._rows)

    def none_of(self, most: int) -> npt.NDArray[np.int64]:
        """The first rows without any, at most so many; `padding_idx` is none of them."""
        found = [np.zeros(0, dtype=np.int64)]
        first = 0
        for counts in self.blocks():
            never = np.flatnonzero(counts == 0) + first
            if self._padding_idx is not None:
                never = never[never != self._padding_idx]
            found.append(never[:most])
            most -= found[-1].size
            if most <= 0:
                break
            first += counts.size
        return np.concatenate(found)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Counts:
        """`[R]` of `rows` alone."""
        found = np.zeros(rows.size, dtype=np.int64)
        first = 0
        for counts in self.blocks():
            inside = np.flatnonzero((rows >= first) & (rows < first + counts.size))
            found[inside] = counts[rows[inside] - first]
            first += counts.size
        return found

    def between(self, first: int, last: int) -> Counts:
        """`[last - first]` of these rows."""
        counts, padding = self._read(first, last), self._padding_idx
        if padding is not None and first <= padding < last and counts[padding - first]:
            counts = counts.copy()
            counts[padding - first] = 0
        return counts


class RowBlock(NamedTuple):
    """Rows that look-ups followed: arrays `[n]` of those with two exposures or more."""

    rows: npt.NDArray[np.int64]
    counts: Counts
    exposures: npt.NDArray[np.int16]
    energy: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    agreement: npt.NDArray[np.float32]

    def of(self, some: npt.NDArray[np.int64]) -> RowBlock:
        """Of `some` of the rows, by their places in the block."""
        return RowBlock(
            self.rows[some],
            self.counts[some],
            self.exposures[some],
            self.energy[some],
            self.noise[some],
            self.agreement[some],
        )


class TableRows:
    """The state of `rows` rows, of which `read(first, last)` gives some.

    Of an observer that goes on observing each block is as of when it is read: in a report made
    while the training goes on they may be some steps apart.
    """

    def __init__(
        self,
        rows: int,
        read: Callable[[int, int], TableState],
        read_counts: Callable[[int, int], Counts],
        padding_idx: int | None,
    ) -> None:
        self.size, self.padding_idx = rows, padding_idx
        self._read = read
        self.look_ups = LookUps(rows, read_counts, padding_idx)

    @property
    def totals(self) -> TableState:
        """What is not of single rows; the arrays are empty."""
        return self._read(0, 0)

    def followed(self) -> Iterator[tuple[int, RowBlock]]:
        """Block by block: rows with one exposure at least, and those with two.

        `padding_idx` is none of them.
        """
        for first in range(0, max(1, self.size), _BLOCK):
            state = self._read(first, min(first + _BLOCK, self.size))
            exposures, padding = state.exposures, self.padding_idx
            if padding is not None and first <= padding < first + exposures.size:
                exposures = exposures.copy()
                exposures[padding - first] = 0
            some = np.flatnonzero(exposures > 1)
            yield (
                int(np.count_nonzero(exposures)),
                RowBlock(
                    some + first,
                    state.counts[some],
                    exposures[some],
                    state.energy[some],
                    state.noise[some],
                    state.agreement[some],
                ),
            )


def live_rows(observer: TableObserver, padding_idx: int | None) -> TableRows:
    """Of an observer, as it is when they are read; from any thread."""

    def read(first: int, last: int) -> TableState:
        return read_state(observer, first, last)

    def counts(first: int, last: int) -> Counts:
        return observer.counts_now(first, last).cpu().numpy()

    return TableRows(observer.exposure.counts.numel(), read, counts, padding_idx)


def rows_of(state: TableState, padding_idx: int | None) -> TableRows:
    """Of a state that is at hand."""

    def counts(first: int, last: int) -> Counts:
        return state.counts[first:last]

    return TableRows(state.counts.size, state.part, counts, padding_idx)
