"""CatBoost's trees, from the JSON that `save_model(format="json")` writes.

It tells no gain of a split, so that is computed from what the leaves hold: the fall of the sum of
squares that the split explains, which is the second-order gain where hessians are equal.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from gradtracer.analyzers import tree_table
from gradtracer.analyzers.tree_catboost_features import SplitNames
from gradtracer.analyzers.tree_table import NO_FEATURE, TreeTable


def unpack(model: dict[str, Any], names: list[str]) -> tuple[TreeTable, list[str]]:
    """The trees, and `names` with one more for each combination of columns that a split uses.

    Raises:
        ValueError: `model` is no model of CatBoost.
    """
    splits = SplitNames(model.get("features_info", {}), names)
    if "oblivious_trees" in model:
        trees = [_symmetric(tree, splits) for tree in _by_depth(model["oblivious_trees"])]
        table = _in_order(trees)
    elif "trees" in model:
        table = tree_table.concatenate(
            [_grown(tree, number, splits) for number, tree in enumerate(model["trees"])]
        )
    else:
        raise ValueError(f"expected a CatBoost model, got keys {sorted(model)[:6]}")
    scale = float(model.get("scale_and_bias", [1.0])[0])
    return table._replace(value=table.value * scale), splits.names


_Alike = tuple[list[int], list[Any]]


def _by_depth(trees: list[Any]) -> list[_Alike]:
    """Trees of the same shape together, with their numbers."""
    alike: defaultdict[tuple[int, int], _Alike] = defaultdict(lambda: ([], []))
    for number, tree in enumerate(trees):
        group = alike[len(tree.get("splits") or ()), len(tree["leaf_values"])]
        group[0].append(number)
        group[1].append(tree)
    return list(alike.values())


def _symmetric(group: _Alike, splits: SplitNames) -> TreeTable:
    """Symmetric trees of one depth D as complete binary trees.

    Bit d of a leaf's number says where split d sends it, so the 2^d nodes above split d are
    numbered by the low d bits.
    """
    numbers, trees = group
    count, depth = len(trees), len(trees[0].get("splits") or ())
    weight = np.array([tree["leaf_weights"] for tree in trees], dtype=np.float64)
    value = np.array([tree["leaf_values"] for tree in trees], dtype=np.float64)
    value = value.reshape(count, 2**depth, -1)
    used = [[splits.read(split) for split in tree.get("splits") or ()] for tree in trees]
    feature, border = (np.array([[s[i] for s in row] for row in used]) for i in (0, 1))
    levels: list[tuple[Any, Any, Any, Any]] = []
    leaf = np.full((count, 2**depth), NO_FEATURE), np.full((count, 2**depth), np.nan)
    levels.append((*leaf, np.zeros((count, 2**depth)), weight))
    mean = value
    for d in reversed(range(depth)):
        half = 2**d
        low, high = weight[:, :half], weight[:, half:]
        weight = low + high
        share = np.divide(high, weight, out=np.full_like(high, 0.5), where=weight > 0)
        step = mean[:, half:] - mean[:, :half]
        gain = weight * share * (1 - share) * np.square(step).sum(axis=2)
        mean = mean[:, :half] + share[..., None] * step
        shape = (count, half)
        levels.append(
            (
                np.broadcast_to(feature[:, d, None], shape),
                np.broadcast_to(border[:, d, None], shape),
                gain,
                weight,
            )
        )
    feature, border, gain, cover = (
        np.concatenate(parts, axis=1).ravel() for parts in zip(*reversed(levels), strict=True)
    )
    size = 2 ** (depth + 1) - 1
    level = np.repeat(np.arange(depth + 1), 2 ** np.arange(depth + 1))
    number = np.arange(size) - (2**level - 1)
    below = 2 ** (level + 1) - 1 + number
    left = np.where(level < depth, below, -1)
    right = np.where(level < depth, below + 2**level, -1)
    start = np.repeat(np.arange(count) * size, size)
    inside = np.full((count, size - 2**depth, value.shape[2]), np.nan)
    return TreeTable(
        tree=np.repeat(np.arange(count), size),
        feature=feature.astype(np.int64),
        threshold=border.astype(np.float64),
        gain=gain,
        cover=cover,
        value=np.concatenate([inside, value], axis=1).reshape(-1, value.shape[2]),
        left=np.where((all_left := np.tile(left, count)) >= 0, all_left + start, -1),
        right=np.where((all_right := np.tile(right, count)) >= 0, all_right + start, -1),
        depth=np.tile(level, count),
        round=np.array(numbers),
        output=np.zeros(count, dtype=np.int64),
    )


def _in_order(groups: list[TreeTable]) -> TreeTable:
    """The trees of groups, sorted by round again."""
    table = tree_table.concatenate(groups)
    if len(groups) < 2:
        return table
    order = np.argsort(table.round, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    rows = np.argsort(rank[table.tree], kind="stable")
    place = np.empty_like(rows)
    place[rows] = np.arange(rows.size)
    left, right = table.left[rows], table.right[rows]
    return TreeTable(
        tree=rank[table.tree][rows],
        feature=table.feature[rows],
        threshold=table.threshold[rows],
        gain=table.gain[rows],
        cover=table.cover[rows],
        value=table.value[rows],
        left=np.where(left >= 0, place[left], -1),
        right=np.where(right >= 0, place[right], -1),
        depth=table.depth[rows],
        round=table.round[order],
        output=table.output[order],
    )


def _grown(tree: Any, number: int, splits: SplitNames) -> TreeTable:
    """A tree grown depthwise or leaf by leaf: nested dictionaries."""
    rows: list[list[Any]] = []

    def walk(node: Any, depth: int) -> tuple[int, float, Any]:
        """Row, cover and mean value."""
        row = len(rows)
        rows.append([NO_FEATURE, np.nan, 0.0, 0.0, None, -1, -1, depth])
        if "split" not in node:
            cover, value = float(node["weight"]), np.atleast_1d(np.asarray(node["value"], float))
            rows[row][3:5] = cover, value
            return row, cover, value
        left, low, a = walk(node["left"], depth + 1)
        right, high, b = walk(node["right"], depth + 1)
        cover = low + high
        share = high / cover if cover > 0 else 0.5
        gain = cover * share * (1 - share) * float(np.square(b - a).sum())
        feature, border = splits.read(node["split"])
        rows[row] = [feature, border, gain, cover, np.full(a.size, np.nan), left, right, depth]
        return row, cover, a + share * (b - a)

    walk(tree, 0)
    feature, border, gain, cover, value, left, right, depth = (
        list(column) for column in zip(*rows, strict=True)
    )
    return TreeTable(
        tree=np.zeros(len(rows), dtype=np.int64),
        feature=np.array(feature),
        threshold=np.array(border),
        gain=np.array(gain),
        cover=np.array(cover),
        value=np.stack(value),
        left=np.array(left),
        right=np.array(right),
        depth=np.array(depth),
        round=np.array([number]),
        output=np.zeros(1, dtype=np.int64),
    )
