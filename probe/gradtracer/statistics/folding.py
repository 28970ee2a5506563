"""What folding the ids of a table by their remainder would cost: look-ups that share a row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_MOST_SHARED = 0.01
"""Share of look-ups that may fall on a row of a more frequent id."""


class Folding(NamedTuple):
    """A smaller table."""

    rows: int
    """Rows it needs."""
    shared: float
    """Share of the look-ups seen whose row another id, looked up more often, would own."""


def shared_look_ups(counts: npt.NDArray[np.integer], rows: int) -> float:
    """Share of look-ups that lose their own row when id i is looked up in row i mod `rows`.

    `counts`: `[N]` look-ups of each id. The most frequent id of a row keeps it. 0 for no look-ups,
    and for `rows` above the highest id seen: the remainder is then the id itself.
    """
    total = int(counts.sum())
    if total == 0:
        return 0.0
    whole = counts.size // rows * rows
    kept = counts[:whole].reshape(-1, rows).max(axis=0, initial=0)
    np.maximum(kept[: counts.size - whole], counts[whole:], out=kept[: counts.size - whole])
    return 1.0 - int(kept.sum(dtype=np.int64)) / total


def smallest_folding(counts: npt.NDArray[np.integer], least: float) -> Folding | None:
    """The smallest table that at most 1 % of look-ups would share; None without a worthwhile one.

    Tried are the rows up to the highest id seen, and halves of that. It must be smaller than the
    table by a share of more than `least`.
    """
    seen = int(np.count_nonzero(counts))
    best: Folding | None = None
    rows = counts.size - int((counts[::-1] > 0).argmax()) if seen else 0
    while rows >= max(1, seen):
        shared = shared_look_ups(counts, rows)
        if shared > _MOST_SHARED:
            break
        if rows < (1.0 - least) * counts.size:
            best = Folding(rows, shared)
        rows //= 2
    return best
