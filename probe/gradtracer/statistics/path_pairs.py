"""Which features are split on together: pairs of a split and one right below it."""

from __future__ import annotations

import numpy as np

from gradtracer.analyzers.tree_table import TreeTable

_DENSE = 1_000
"""Features up to which all pairs are counted in one array, so that nothing needs sorting."""


def path_pairs(table: TreeTable, top: int = 20) -> list[tuple[int, int, float]]:
    """`(feature, feature, share)`, the strongest first: share of the gain of splits below another.

    A pair counts the gain of the lower split, and its order does not matter. A split on its
    parent's own feature refines it and is no interaction. Lundberg et al., Consistent
    Individualized Feature Attribution for Tree Ensembles (2018), sec. 4, for why a path and not a
    whole tree is where features interact.
    """
    parent = table.parent
    lower = np.flatnonzero(~table.leaves & (parent >= 0))
    one, other = table.feature[parent[lower]], table.feature[lower]
    gain = np.maximum(table.gain[lower], 0.0)
    differ = one != other
    if not gain[differ].sum() > 0:
        return []
    first, second = np.minimum(one, other)[differ], np.maximum(one, other)[differ]
    width = int(table.feature.max()) + 1
    cell = first * width + second
    if width > _DENSE:
        cells, place = np.unique(cell, return_inverse=True)
        weight = np.bincount(place, gain[differ])
    else:
        every = np.bincount(cell, gain[differ])
        cells = np.flatnonzero(every)
        weight = every[cells]
    strongest = np.argsort(weight)[::-1][:top]
    total = gain.sum()
    return [
        (int(cells[i] // width), int(cells[i] % width), float(weight[i] / total)) for i in strongest
    ]
