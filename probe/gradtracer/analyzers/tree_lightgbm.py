"""LightGBM's trees, from the text that `Booster.model_to_string` gives for a range of rounds."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np

from gradtracer.analyzers import tree_table
from gradtracer.analyzers.tree_table import NO_FEATURE, TreeTable

_SPLITS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_WHOLE = frozenset({"split_feature", "decision_type", "left_child", "right_child"})
_TREE = "\nTree="
_PER_ROUND = re.compile(r"^num_tree_per_iteration=(\d+)$", re.MULTILINE)
_CATEGORICAL = 1


def unpack(text: str, first_round: int = 0) -> TreeTable:
    """The trees in `text`, the first of which belongs to `first_round`.

    Raises:
        ValueError: `text` is no model of LightGBM.
    """
    head = _PER_ROUND.search(text)
    if head is None:
        raise ValueError(
            "expected the text of a LightGBM model, got none with num_tree_per_iteration"
        )
    per_round = int(head[1])
    trees = [_lines(part) for part in text.split(_TREE)[1:]]
    if not trees:
        return tree_table.empty()
    leaves = np.array([int(tree["num_leaves"]) for tree in trees])
    inner = leaves - 1
    sizes = leaves + inner
    offsets = np.cumsum(sizes) - sizes
    number = np.arange(leaves.size)
    # The splits of a tree, then its leaves: a child of -1 is the first leaf.
    split_tree, leaf_tree = np.repeat(number, inner), np.repeat(number, leaves)
    split_row = offsets[split_tree] + _ranks(inner)
    leaf_row = (offsets + inner)[leaf_tree] + _ranks(leaves)
    splits = {name: _numbers(name, trees) for name in _SPLITS}

    def scattered(of_splits: Any, of_leaves: Any, dtype: type = np.float64) -> Any:
        column = np.empty(int(sizes.sum()), dtype=dtype)
        column[split_row], column[leaf_row] = of_splits, of_leaves
        return column

    def children(name: str) -> Any:
        child = splits[name]
        row = np.where(child >= 0, child, inner[split_tree] - child - 1) + offsets[split_tree]
        return scattered(row, -1, np.int64)

    left, right = children("left_child"), children("right_child")
    categorical = (splits["decision_type"] & _CATEGORICAL) > 0
    return TreeTable(
        tree=np.repeat(number, sizes),
        feature=scattered(splits["split_feature"], NO_FEATURE, np.int64),
        threshold=scattered(np.where(categorical, np.nan, splits["threshold"]), np.nan),
        gain=scattered(splits["split_gain"], 0.0),
        cover=scattered(_numbers("internal_count", trees), _cover(trees, leaves)),
        value=scattered(np.nan, _numbers("leaf_value", trees))[:, None],
        left=left,
        right=right,
        depth=tree_table.depths(left, right, offsets),
        round=first_round + number // per_round,
        output=number % per_round,
    )


def _lines(tree: str) -> dict[str, str]:
    """`name=values` until the blank line that ends a tree."""
    lines = tree.partition("\n\n")[0].split("\n")[1:]
    return {
        name: values for name, equals, values in (line.partition("=") for line in lines) if equals
    }


def _numbers(name: str, trees: list[dict[str, str]]) -> Any:
    """One array over all trees; a tree of a single leaf has no splits."""
    told = " ".join(filter(None, [tree.get(name) for tree in trees]))
    if name in _WHOLE:
        return np.fromstring(told, dtype=np.int64, sep=" ")
    try:
        # Four times as fast as numpy.
        numbers = msgspec.json.decode(f"[{told.replace(' ', ',')}]", type=list[float])
    except msgspec.DecodeError:  # JSON knows no `inf` and no `nan`
        return np.fromstring(told, sep=" ")
    return np.array(numbers)


def _cover(trees: list[dict[str, str]], leaves: Any) -> Any:
    """Examples in each leaf; a tree of one leaf, which tells none, weighs one."""
    told = [
        tree.get("leaf_count") or " ".join(["1"] * count)
        for tree, count in zip(trees, leaves.tolist(), strict=True)
    ]
    return np.fromstring(" ".join(told), dtype=np.int64, sep=" ")


def _ranks(counts: Any) -> Any:
    """`0 1 2 0 1 ...`: the place of each item in its group."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(starts, counts)
