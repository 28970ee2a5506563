"""Which features are split on together: pairs of a split and one right below it."""

from __future__ import annotations

import numpy as np

from gradtracer.analyzers.tree_table import NO_FEATURE, Floats, Integers, TreeTable

_DENSE = 1_000
"""Features up to which all pairs are counted in one array, so that nothing needs sorting."""


class PathPairs:
    """Pairs among F features, of all trees that were added.

    A pair counts the gain of the lower split, and its order does not matter. A split on its
    parent's own feature refines it and is no interaction. Lundberg et al., Consistent
    Individualized Feature Attribution for Tree Ensembles (2018), sec. 4, for why a path and not a
    whole tree is where features interact.
    """

    def __init__(self, features: int) -> None:
        self._width = features
        self._dense = np.zeros((features + 1) * features if features <= _DENSE else 0)
        self._found: list[tuple[Integers, Floats]] = []

    def add(self, table: TreeTable) -> None:
        """Count the pairs of these trees."""
        for rows in table.stretches():
            cell, gain = self._cells(table, rows)
            if self._dense.size:
                self._dense += np.bincount(cell + self._width, gain, self._dense.size)
            else:
                self._found.append((cell[cell >= 0], gain[cell >= 0]))

    def strongest(self, top: int = 20) -> list[tuple[int, int, float]]:
        """`(feature, feature, share)`, the strongest first: share of the gain below a split."""
        width, every = self._width, self._dense[self._width :]
        cells = np.flatnonzero(every)
        weight = every[cells]
        if self._found:
            cells, weight = (np.concatenate(each) for each in zip(*self._found, strict=True))
        one, other = np.divmod(cells, width)
        pairs, place = np.unique(
            np.minimum(one, other) * width + np.maximum(one, other), return_inverse=True
        )
        total, weight = weight.sum(), np.bincount(place, weight)
        weight[pairs // width == pairs % width] = 0.0
        strongest = [i for i in np.argsort(weight)[::-1][:top].tolist() if weight[i] > 0]
        return [
            (int(pairs[i] // width), int(pairs[i] % width), float(weight[i] / total))
            for i in strongest
        ]

    def _cells(self, table: TreeTable, rows: range) -> tuple[Integers, Floats]:
        """Of S splits: the feature above and its own as one number, below 0 at a root; the gain."""
        inner = table.inner_of(rows)
        own, gain = table.feature[inner], np.maximum(table.gain[inner], 0.0)
        above = np.full(len(rows), NO_FEATURE)
        above[table.left[inner] - rows.start] = own
        above[table.right[inner] - rows.start] = own
        return above[inner - rows.start] * self._width + own, gain
