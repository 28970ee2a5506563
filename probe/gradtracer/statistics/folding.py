"""What folding the ids of a table by their remainder would cost: look-ups that share a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ReadCounts = Callable[[int, int], npt.NDArray[np.integer]]

_BLOCK = 16_384
"""Ids whose look-ups are read at once."""
_MOST_SHARED = 0.01
"""Share of look-ups that may fall on a row of a more frequent id."""


class Folding(NamedTuple):
    """A smaller table."""

    rows: int
    """Rows it needs."""
    shared: float
    """Share of the look-ups seen whose row another id, looked up more often, would own."""


def shared_look_ups(read: ReadCounts, size: int, rows: int) -> float:
    """Share of look-ups that lose their own row when id i is looked up in row i mod `rows`.

    `read(first, last)` gives the look-ups of these of `size` ids. The most frequent id of a row
    keeps it. 0 for no look-ups, and for `rows` above the highest id seen: the remainder is then the
    id itself. O(size), in the memory of a block: of a wide remainder, that of a stretch of rows is
    gone through at a time.
    """
    total = kept = 0
    stride = max(1, _BLOCK // rows) * rows
    for start in range(0, rows, _BLOCK):
        width = min(_BLOCK, rows - start)
        most = np.zeros(width, dtype=np.int64)
        for first in range(start, size, stride):
            counts = read(first, min(first + stride - rows + width, size))
            total += int(counts.sum(dtype=np.int64))
            whole = counts.size // width * width
            rest = most[: counts.size - whole]
            np.maximum(rest, counts[whole:], out=rest)
            np.maximum(most, counts[:whole].reshape(-1, width).max(axis=0, initial=0), out=most)
        kept += int(most.sum())
    return 1.0 - kept / total if total else 0.0


def smallest_folding(read: ReadCounts, size: int, least: float) -> Folding | None:
    """The smallest table that at most 1 % of look-ups would share; None without a worthwhile one.

    Tried are the rows up to the highest id seen, and halves of that. It must be smaller than the
    table of `size` rows by a share of more than `least`.
    """
    seen, rows = _extent(read, size)
    if not seen:
        return None
    best = Folding(rows, 0.0)
    while best.rows // 2 >= seen:
        half = best.rows // 2
        shared = shared_look_ups(read, size, half)
        if shared > _MOST_SHARED:
            break
        best = Folding(half, shared)
    return best if best.rows < (1.0 - least) * size else None


def _extent(read: ReadCounts, size: int) -> tuple[int, int]:
    """Number of ids seen, and the highest of them plus one."""
    seen = rows = 0
    for first in range(0, size, _BLOCK):
        some = np.flatnonzero(read(first, min(first + _BLOCK, size)))
        if some.size:
            seen, rows = seen + some.size, first + int(some[-1]) + 1
    return seen, rows
