"""Every node of an ensemble in columns, whichever library grew it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NO_FEATURE = -1
"""`feature` of a leaf."""
_AT_ONCE = 32_768
"""Nodes that are summed up at once: few enough for a processor's cache."""


class TreeTable(NamedTuple):
    """N nodes of T trees, float64 and int64. The nodes of a tree stand together, its root first.

    `left`, `right` and `depth` may be narrower integers: much of the time that a first model of a
    process takes is that of memory which is new.
    """

    tree: Integers
    """`[N]` which tree, from 0."""
    feature: Integers
    """`[N]` index of the feature it splits on; -1 for a leaf."""
    threshold: Floats
    """`[N]` border of the split; NaN for a leaf and for a categorical split."""
    gain: Floats
    """`[N]` fall of the loss as the library counts it; 0 for a leaf."""
    cover: Floats
    """`[N]` weight of the training examples in it: hessians in XGBoost, else examples."""
    value: Floats
    """`[N, K]` what a leaf adds to the margin, learning rate included; NaN inside. K is 1 unless
    the leaves hold vectors."""
    left: Integers
    """`[N]` row of the child for examples that go left; -1 for a leaf."""
    right: Integers
    """`[N]` row of the other child."""
    depth: Integers
    """`[N]` splits above it; 0 for a root."""
    round: Integers
    """`[T]` boosting round of each tree, from 0, in ascending order."""
    output: Integers
    """`[T]` class or target that each tree is for; 0 for vector leaves."""

    @property
    def trees(self) -> int:
        """T."""
        return int(self.round.size)

    @property
    def rounds(self) -> int:
        """How many rounds it spans."""
        return int(self.round.max()) + 1 if self.round.size else 0

    @property
    def leaves(self) -> npt.NDArray[np.bool_]:
        """`[N]` which nodes are leaves."""
        return self.feature == NO_FEATURE

    @property
    def inner(self) -> Integers:
        """Rows of the nodes that split, in order."""
        return np.flatnonzero(~self.leaves)

    def stretches(self) -> list[range]:
        """Rows of the nodes in pieces of whole trees, none of which needs much memory."""
        pieces = max(1, round(self.tree.size / _AT_ONCE))
        first = np.linspace(0, self.trees, pieces, endpoint=False).astype(np.int64)
        begin = np.searchsorted(self.tree, np.unique(first)).tolist()
        return [range(*ends) for ends in pairwise([*begin, self.tree.size])]

    def inner_of(self, rows: range) -> Integers:
        """Rows among these of the nodes that split, in order."""
        return np.flatnonzero(self.feature[rows.start : rows.stop] != NO_FEATURE) + rows.start

    def leaves_of(self, rows: range) -> Integers:
        """Rows among these of the leaves, in order."""
        return np.flatnonzero(self.feature[rows.start : rows.stop] == NO_FEATURE) + rows.start


def empty(outputs: int = 1) -> TreeTable:
    """A table of no trees."""
    floats, integers = np.zeros(0), np.zeros(0, dtype=np.int64)
    return TreeTable(
        tree=integers,
        feature=integers,
        threshold=floats,
        gain=floats,
        cover=floats,
        value=np.zeros((0, outputs)),
        left=integers,
        right=integers,
        depth=integers,
        round=integers,
        output=integers,
    )


def concatenate(tables: Sequence[TreeTable]) -> TreeTable:
    """The trees of several tables, in this order; `round` is taken as it stands in each."""
    tables = [table for table in tables if table.trees]
    if len(tables) < 2:
        return tables[0] if tables else empty()
    rows = np.cumsum([0, *(table.tree.size for table in tables)])
    trees = np.cumsum([0, *(table.trees for table in tables)])
    shifted = [
        table._replace(
            tree=table.tree + first,
            left=np.where(table.left >= 0, table.left + row, -1),
            right=np.where(table.right >= 0, table.right + row, -1),
        )
        for table, row, first in zip(tables, rows, trees, strict=False)
    ]
    columns: list[Any] = [np.concatenate(column) for column in zip(*shifted, strict=True)]
    return TreeTable(*columns)


def depths(left: Integers, right: Integers, roots: Integers) -> Integers:
    """`[N]` splits above each node; -1 for a node that no root leads to."""
    depth = np.full(left.size, -1)
    level, at = 0, roots
    while at.size:
        depth[at] = level
        children = np.concatenate([left[at], right[at]])
        at = children[children >= 0]
        level += 1
    return depth


def reachable(table: TreeTable) -> TreeTable:
    """Without the nodes that pruning left behind, which no root leads to."""
    kept = table.depth >= 0
    if kept.all():
        return table
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    left, right = table.left[kept], table.right[kept]
    return table._replace(
        tree=table.tree[kept],
        feature=table.feature[kept],
        threshold=table.threshold[kept],
        gain=table.gain[kept],
        cover=table.cover[kept],
        value=table.value[kept],
        left=np.where(left >= 0, place[left], -1),
        right=np.where(right >= 0, place[right], -1),
        depth=table.depth[kept],
    )


def joined(cover: Floats, means: Floats, at: Any, left: Any, right: Any) -> Any:
    """Fill in cover `[..]` and means `[K, ..]` of the nodes `at` from their children: their gains.

    The gain is the fall of the sum of squares that the split explains.
    """
    low, high = cover[left], cover[right]
    cover[at] = total = low + high
    share = high / np.maximum(total, np.finfo(np.float64).tiny)
    fall = np.zeros(total.shape)
    for mean in means:
        below = mean[left]
        step = mean[right] - below
        mean[at] = below + share * step
        fall += np.square(step, out=step)
    return low * share * fall
