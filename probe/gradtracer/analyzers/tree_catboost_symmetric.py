"""CatBoost's symmetric trees: one test for each level, so that whole levels are counted at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers.tree_table import NO_FEATURE, Floats, Integers, TreeTable, joined

DEEPEST = 16
"""As CatBoost allows for symmetric trees."""
_AT_ONCE = 32_768
"""Nodes of a table: few enough for a processor's cache."""


class Nodes(NamedTuple):
    """The columns of a `TreeTable` that are of its N nodes."""

    tree: Integers
    feature: Integers
    threshold: Floats
    gain: Floats
    cover: Floats
    value: Floats
    left: Any
    right: Any
    depth: Any


class SymmetricTrees:
    """Tables of some trees each, made anew whenever they are gone through.

    One table of all takes longer to get the memory for than to fill.
    """

    def __init__(
        self, sizes: Integers, feature: Integers, border: Floats, weight: Floats, value: Floats
    ) -> None:
        """T trees of `sizes` `[T]` tests, whose `feature` and `border` are `[sum sizes]`.

        `weight` `[L]` and `value` `[L, K]` are those of the leaves.
        """
        self._sizes, self._feature, self._border = sizes, feature, border
        self._weight, self._value = weight, value

    def __iter__(self) -> Iterator[TreeTable]:
        sizes = self._sizes
        pieces = np.cumsum(2 ** (sizes + 1) - 1) // _AT_ONCE
        tests, leaves = (np.cumsum([0, *each]).tolist() for each in (sizes, 2**sizes))
        for first, end in pairwise([*np.flatnonzero(np.diff(pieces, prepend=-1)), sizes.size]):
            test, leaf = slice(tests[first], tests[end]), slice(leaves[first], leaves[end])
            yield TreeTable(
                **_nodes(
                    sizes[first:end],
                    self._feature[test],
                    self._border[test],
                    self._weight[leaf],
                    self._value[leaf],
                )._asdict(),
                round=np.arange(first, end),
                output=np.zeros(end - first, dtype=np.int64),
            )


def _nodes(
    sizes: Integers, feature: Integers, border: Floats, weight: Floats, value: Floats
) -> Nodes:
    """The nodes of these trees.

    A tree is a complete binary tree of 2^(D+1) - 1 rows, level by level. Bit d of a leaf's number
    says where test d sends it, so the 2^d nodes above test d are numbered by the low d bits. Trees
    of one depth are one block.
    """
    counts = 2 ** (sizes + 1) - 1
    start = np.cumsum(counts) - counts
    depths = np.unique(sizes).tolist()
    blocks: list[Nodes] = []
    for depth in depths:
        of = sizes == depth
        # Where all trees are of one depth, nothing needs to be copied.
        rows = (
            (slice(None),) * 3
            if len(depths) == 1
            else (of, np.repeat(of, sizes), np.repeat(of, 2**sizes))
        )
        trees, tests, leaves = rows
        block = _block(
            np.arange(sizes.size)[trees],
            start[trees],
            feature[tests].reshape(-1, depth),
            border[tests].reshape(-1, depth),
            weight[leaves].reshape(-1, 2**depth),
            value[leaves].reshape(-1, 2**depth, value.shape[1]),
        )
        blocks.append(block)
    if len(blocks) == 1:
        return blocks[0]
    places = [np.repeat(sizes == depth, counts) for depth in depths]
    return Nodes(*(_merged(column, places) for column in zip(*blocks, strict=True)))


def _block(
    trees: Integers,
    start: Integers,
    feature: Integers,
    border: Floats,
    weight: Floats,
    value: Floats,
) -> Nodes:
    """Trees of one depth D: tests `[T, D]`, leaves `[T, 2^D]` and `[T, 2^D, K]`."""
    depth, outputs = feature.shape[1], value.shape[2]
    inside = 2**depth - 1
    shape = (trees.size, inside + 2**depth)
    nodes = Nodes(
        tree=np.repeat(trees, shape[1]).reshape(shape),
        feature=np.full(shape, NO_FEATURE),
        threshold=np.full(shape, np.nan),
        gain=np.zeros(shape),
        cover=np.empty(shape),
        value=np.empty((outputs, *shape)),
        left=np.full(shape, -1, dtype=np.int32),
        right=np.full(shape, -1, dtype=np.int32),
        depth=np.empty(shape, dtype=np.int8),
    )
    nodes.depth[:] = np.repeat(np.arange(depth + 1), 2 ** np.arange(depth + 1))
    nodes.cover[:, inside:] = weight
    nodes.value[:, :, inside:] = np.moveaxis(value, 2, 0)
    for level in reversed(range(depth)):
        at, low, high, end = (2**level * times - 1 for times in (1, 2, 3, 4))
        nodes.feature[:, at:low] = feature[:, level, None]
        nodes.threshold[:, at:low] = border[:, level, None]
        nodes.left[:, at:low] = start[:, None] + np.arange(low, high)
        nodes.right[:, at:low] = start[:, None] + np.arange(high, end)
        nodes.gain[:, at:low] = joined(
            nodes.cover,
            nodes.value,
            np.s_[:, at:low],
            np.s_[:, low:high],
            np.s_[:, high:end],
        )
    nodes.value[:, :, :inside] = np.nan
    flat: list[Any] = [column.reshape(-1) for column in nodes]
    return Nodes(*flat)._replace(value=nodes.value.reshape(outputs, -1).T)


def _merged(columns: Any, places: list[Any]) -> Any:
    """One column of all trees, from those of the blocks and the rows `[N]` each of them has."""
    merged = np.empty((places[0].size, *columns[0].shape[1:]), dtype=columns[0].dtype)
    for column, place in zip(columns, places, strict=True):
        merged[place] = column
    return merged
