"""CatBoost's trees, from the file in its own format that `save_model` writes.

Its JSON holds the same and takes the library sixty times as long to write.
It tells no gain of a split, so that is computed from what the leaves hold: the fall of the sum of
squares that the split explains, which is the second-order gain where hessians are equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradtracer.analyzers import tree_table
from gradtracer.analyzers.flatbuffer import Table
from gradtracer.analyzers.tree_catboost_features import Splits, splits_of
from gradtracer.analyzers.tree_catboost_symmetric import DEEPEST, SymmetricTrees
from gradtracer.analyzers.tree_table import NO_FEATURE, Integers, TreeTable, joined

_MAGIC = b"CBM1"
_HEAD = len(_MAGIC) + 4
# Fields of the trees, as CatBoost's `model.fbs` numbers them.
_OUTPUTS, _SPLITS, _SIZES, _SCALE = 0, 1, 2, 14
_VALUES, _WEIGHTS, _STEPS, _LEAF_OF_NODE = 8, 9, 10, 11
_STEP = np.dtype([("left", "<u2"), ("right", "<u2")])


def unpack(raw: bytes, names: list[str]) -> tuple[Iterable[TreeTable], list[str]]:
    """The trees in tables of some each, and `names` with one more for each combination of columns
    that a split uses.

    Raises:
        ValueError: `raw` is no model of CatBoost.
    """
    if raw[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"expected a CatBoost model, got bytes that begin with {raw[:4]!r}")
    trees = Table.root(memoryview(raw)[_HEAD:]).table(1)
    if trees is None:
        raise ValueError("expected a CatBoost model, got one without its trees")
    try:
        return _unpack(trees, names)
    except (IndexError, KeyError) as error:
        raise ValueError(f"expected a CatBoost model, got one that lacks {error}") from None


def _unpack(trees: Table, names: list[str]) -> tuple[Iterable[TreeTable], list[str]]:
    splits = splits_of(trees, names)
    sizes = trees.array(_SIZES, "<i4").astype(np.int64)
    if not sizes.size:
        return [], splits.names
    outputs = int(trees.number(_OUTPUTS, "<i", 1))
    chosen, steps = trees.array(_SPLITS, "<i4"), trees.array(_STEPS, _STEP)
    value = trees.array(_VALUES, "<f8").reshape(-1, outputs)
    if (scale := trees.number(_SCALE, "<d", 1.0)) != 1:
        value = scale * value
    weight = trees.array(_WEIGHTS, "<f8")
    if weight.size != len(value):  # a sum of models has none
        weight = np.ones(len(value))
    if steps.size:
        leaf_of_node = trees.array(_LEAF_OF_NODE, "<u4") // outputs
        table = _grown(chosen, steps, leaf_of_node, sizes, splits, weight, value)
        return [table], splits.names
    if sizes.max() > DEEPEST or len(value) != (2**sizes).sum() or chosen.size != sizes.sum():
        raise ValueError(f"expected leaves of {sizes.size} trees, got {len(value)}")
    feature, border = splits.feature[chosen], splits.border[chosen]
    return SymmetricTrees(sizes, feature, border, weight, value), splits.names


def _grown(
    chosen: Any, steps: Any, leaves: Any, sizes: Integers, splits: Splits, weight: Any, value: Any
) -> TreeTable:
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
    start = row[np.cumsum(sizes) - sizes]
    depth = tree_table.depths(child["left"], child["right"], start)
    feature, border = np.full(total, NO_FEATURE), np.full(total, np.nan)
    feature[row[at]], border[row[at]] = splits.feature[chosen[at]], splits.border[chosen[at]]
    # A node without steps has one leaf and one with a single step too, whose row follows it.
    leaf = leaves[~inside | own]
    is_leaf = child["left"] < 0
    cover, mean = np.zeros(total), np.zeros((value.shape[1], total))
    cover[is_leaf], mean[:, is_leaf] = weight[leaf], value[leaf].T
    gain = np.zeros(total)
    inner = np.flatnonzero(~is_leaf)
    level = depth[inner]
    for each in reversed(range(int(level.max(initial=-1)) + 1)):
        now = inner[level == each]
        gain[now] = joined(cover, mean, now, child["left"][now], child["right"][now])
    mean[:, inner] = np.nan
    return TreeTable(
        tree=np.repeat(np.arange(sizes.size), np.diff(start, append=total)),
        feature=feature,
        threshold=border,
        gain=gain,
        cover=cover,
        value=mean.T,
        left=child["left"],
        right=child["right"],
        depth=depth,
        round=np.arange(sizes.size),
        output=np.zeros(sizes.size, dtype=np.int64),
    )
