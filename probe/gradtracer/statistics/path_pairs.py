"""Which features are split on together: pairs of a split and one right below it."""

from __future__ import annotations

import numpy as np

from gradtracer.analyzers.tree_table import NO_FEATURE, TreeTable

_DENSE = 1_000
"""Features up to which all pairs are counted in one array, so that nothing needs sorting."""


def path_pairs(table: TreeTable, top: int = 20) -> list[tuple[int, int, float]]:
    """`(feature, feature, share)`, the strongest first: share of the gain of splits below another.

    A pair counts the gain of the lower split, and its order does not matter. A split on its
    parent's own feature refines it and is no interaction. Lundberg et al., Consistent
    Individualized Feature Attribution for Tree Ensembles (2018), sec. 4, for why a path and not a
    whole tree is where features interact.
    """
    inner = table.inner
    own, gain = table.feature[inner], np.maximum(table.gain[inner], 0.0)
    above = np.full(table.tree.size, NO_FEATURE)
    above[table.left[inner]] = own
    above[table.right[inner]] = own
    width = int(own.max(initial=0)) + 1
    cell = above[inner] * width + own
    if width > _DENSE:
        lower = cell >= 0  # a root has nothing above it
        cells, place = np.unique(cell[lower], return_inverse=True)
        weight = np.bincount(place, gain[lower])
    else:
        every = np.bincount(cell + width, gain, (width + 1) * width)[width:]
        cells = np.flatnonzero(every)
        weight = every[cells]
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
