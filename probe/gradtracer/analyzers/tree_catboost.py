"""CatBoost's trees, from the file in its own format that `save_model` writes.

Its JSON holds the same and takes the library sixty times as long to write.
It tells no gain of a split, so that is computed from what the leaves hold: the fall of the sum of
squares that the split explains, which is the second-order gain where hessians are equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers import tree_table
from gradtracer.analyzers.flatbuffer import Table
from gradtracer.analyzers.tree_catboost_features import splits_of
from gradtracer.analyzers.tree_table import NO_FEATURE, Floats, Integers, TreeTable

_MAGIC = b"CBM1"
_HEAD = len(_MAGIC) + 4
# Fields of the trees, as CatBoost's `model.fbs` numbers them.
_OUTPUTS, _SPLITS, _SIZES, _SCALE = 0, 1, 2, 14
_VALUES, _WEIGHTS, _STEPS, _LEAF_OF_NODE = 8, 9, 10, 11
_DEEPEST = 16
"""As CatBoost allows for symmetric trees."""
_STEP = np.dtype([("left", "<u2"), ("right", "<u2")])


def unpack(raw: bytes, names: list[str]) -> tuple[TreeTable, list[str]]:
    """The trees, and `names` with one more for each combination of columns that a split uses.

    Raises:
        ValueError: `raw` is no model of CatBoost.
    """
    if raw[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"expected a CatBoost model, got bytes that begin with {raw[:4]!r}")
    trees = Table.root(raw[_HEAD:]).table(1)
    if trees is None:
        raise ValueError("expected a CatBoost model, got one without its trees")
    try:
        return _unpack(trees, names)
    except (IndexError, KeyError) as error:
        raise ValueError(f"expected a CatBoost model, got one that lacks {error}") from None


def _unpack(trees: Table, names: list[str]) -> tuple[TreeTable, list[str]]:
    splits = splits_of(trees, names)
    sizes = trees.array(_SIZES, "<i4").astype(np.int64)
    if not sizes.size:
        return tree_table.empty(), splits.names
    outputs = int(trees.number(_OUTPUTS, "<i", 1))
    chosen, steps = trees.array(_SPLITS, "<i4"), trees.array(_STEPS, _STEP)
    value = trees.array(_VALUES, "<f8").reshape(-1, outputs)
    if steps.size:
        shape = _grown(chosen, steps, trees.array(_LEAF_OF_NODE, "<u4") // outputs, sizes)
    elif sizes.max() > _DEEPEST or len(value) != (2**sizes).sum():
        raise ValueError(f"expected leaves of {sizes.size} trees, got {len(value)}")
    else:
        shape = _symmetric(chosen, sizes)
    weight = trees.array(_WEIGHTS, "<f8")
    if weight.size != len(value):  # a sum of models has none
        weight = np.ones(len(value))
    inner = shape.split >= 0
    cover, mean = np.zeros(inner.size), np.zeros((inner.size, outputs))
    cover[~inner], mean[~inner] = weight[shape.leaf], value[shape.leaf]
    gain = _sum_up(shape, cover, mean)
    mean[inner] = np.nan
    table = TreeTable(
        tree=np.repeat(np.arange(sizes.size), np.diff(shape.start, append=inner.size)),
        # The last of them, which -1 finds, stands for a leaf.
        feature=np.append(splits.feature, NO_FEATURE)[shape.split],
        threshold=np.append(splits.border, np.nan)[shape.split],
        gain=gain,
        cover=cover,
        value=mean * trees.number(_SCALE, "<d", 1.0),
        left=shape.left,
        right=shape.right,
        depth=shape.depth,
        round=np.arange(sizes.size),
        output=np.zeros(sizes.size, dtype=np.int64),
    )
    return table, splits.names


class _Shape(NamedTuple):
    """N nodes of T trees, each tree's root first."""

    start: Integers
    """`[T]` row of each root."""
    left: Integers
    """`[N]` row of a child; -1 for a leaf."""
    right: Integers
    """`[N]`"""
    split: Integers
    """`[N]` which test; -1 for a leaf."""
    leaf: Any
    """`[L]` number of each leaf, or all of them in order."""
    depth: Integers
    """`[N]`"""


def _symmetric(chosen: Any, sizes: Integers) -> _Shape:
    """Trees with one test at each of their D levels, as complete binary trees, level by level.

    Bit d of a leaf's number says where test d sends it, so the 2^d nodes above test d are numbered
    by the low d bits.
    """
    nodes = 2 ** (sizes + 1) - 1
    start = np.cumsum(nodes) - nodes
    row = np.arange(int(nodes.sum()))
    level_at = np.repeat(np.arange(sizes.max() + 1), 2 ** np.arange(sizes.max() + 1))
    level = level_at[row - np.repeat(start, nodes)]
    inside = level < np.repeat(sizes, nodes)
    left, right = np.full(row.size, -1), np.full(row.size, -1)
    width = 2 ** level[inside]
    left[inside] = below = row[inside] + width
    right[inside] = below + width
    split = np.full(row.size, -1)
    split[inside] = chosen[np.repeat(np.cumsum(sizes) - sizes, 2**sizes - 1) + level[inside]]
    return _Shape(start, left, right, split, slice(None), level)


def _grown(chosen: Any, steps: Any, leaves: Any, sizes: Integers) -> _Shape:
    """Trees grown depthwise or leaf by leaf.

    A step says how far on either child stands. A node of which one step is 0 is its own leaf on
    that side; it gets a row of its own, right after the node.
    """
    left, right = steps["left"].astype(np.int64), steps["right"].astype(np.int64)
    inside = (left > 0) | (right > 0)
    own = inside & ((left == 0) | (right == 0))
    row = np.arange(inside.size) + np.cumsum(own) - own
    at = np.flatnonzero(inside)
    total = inside.size + int(own.sum())
    child = {}
    for name, step in (("left", left), ("right", right)):
        child[name] = np.full(total, -1)
        child[name][row[at]] = np.where(step[at] > 0, row[at + step[at]], row[at] + 1)
    split = np.full(total, -1)
    split[row[at]] = chosen[at]
    start = row[np.cumsum(sizes) - sizes]
    depth = tree_table.depths(child["left"], child["right"], start)
    # A node without steps has one leaf and one with a single step too, whose row follows it.
    leaf = leaves[~inside | own]
    return _Shape(start, child["left"], child["right"], split, leaf, depth)


def _sum_up(shape: _Shape, cover: Floats, mean: Floats) -> Floats:
    """Gains of nodes; fills in the cover and the mean value of those that are no leaves."""
    gain = np.zeros(cover.size)
    inner = np.flatnonzero(shape.split >= 0)
    level = shape.depth[inner]
    for each in reversed(range(int(level.max(initial=-1)) + 1)):
        at = inner[level == each]
        left, right = shape.left[at], shape.right[at]
        low, high = cover[left], cover[right]
        cover[at] = total = low + high
        share = np.divide(high, total, out=np.full(at.size, 0.5), where=total > 0)
        below = mean[left]
        step = mean[right] - below
        gain[at] = low * share * np.square(step).sum(axis=1)
        mean[at] = below + share[:, None] * step
    return gain
