"""Which features are split on together: pairs of a split and one right below it."""

from __future__ import annotations

import numpy as np

from gradtracer.analyzers.tree_table import NO_FEATURE, Floats, Integers, TreeTable

_DENSE = 1_000
"""Features up to which all pairs are counted in one array, so that nothing needs sorting."""


def path_pairs(table: TreeTable, top: int = 20) -> list[tuple[int, int, float]]:
    """`(feature, feature, share)`, the strongest first: share of the gain of splits below another.

    A pair counts the gain of the lower split, and its order does not matter. A split on its
    parent's own feature refines it and is no interaction. Lundberg et al., Consistent
    Individualized Feature Attribution for Tree Ensembles (2018), sec. 4, for why a path and not a
    whole tree is where features interact.
    """
    width = int(table.feature.max(initial=0)) + 1
    if width > _DENSE:
        found = [_cells(table, rows, width) for rows in table.stretches()]
        every = np.concatenate([cell for cell, _ in found])
        lower = every >= 0
        cells, place = np.unique(every[lower], return_inverse=True)
        weight = np.bincount(place, np.concatenate([gain for _, gain in found])[lower])
    else:
        every = np.zeros((width + 1) * width)
        for rows in table.stretches():
            cell, gain = _cells(table, rows, width)
            every += np.bincount(cell + width, gain, every.size)
        cells = np.flatnonzero(every[width:])
        weight = every[width:][cells]
    one, other = np.divmod(cells, width)
    pairs, place = np.unique(
        np.minimum(one, other) * width + np.maximum(one, other), return_inverse=True
    )
    total, weight = weight.sum(), np.bincount(place, weight)
    weight[pairs // width == pairs % width] = 0.0
    strongest = [i for i in np.argsort(weight)[::-1][:top].tolist() if weight[i] > 0]
    return [
        (int(pairs[i] // width), int(pairs[i] % width), float(weight[i] / total)) for i in strongest
    ]


def _cells(table: TreeTable, rows: range, width: int) -> tuple[Integers, Floats]:
    """Of S splits: the feature above and its own as one number, below 0 at a root; and the gain."""
    inner = table.inner_of(rows)
    own, gain = table.feature[inner], np.maximum(table.gain[inner], 0.0)
    above = np.full(len(rows), NO_FEATURE)
    above[table.left[inner] - rows.start] = own
    above[table.right[inner] - rows.start] = own
    return above[inner - rows.start] * width + own, gain
