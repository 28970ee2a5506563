"""XGBoost's trees, from the UBJSON that `Booster.save_raw` gives for the model or a slice of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradtracer.analyzers import tree_table, ubjson
from gradtracer.analyzers.tree_table import NO_FEATURE, TreeTable


def unpack(raw: bytes | bytearray, first_round: int = 0) -> TreeTable:
    """The trees in `raw`, the first of which belongs to `first_round`.

    Raises:
        ValueError: `raw` is no model of trees; `gblinear` has none.
    """
    booster = ubjson.decode(raw)["learner"]["gradient_booster"]
    weights: Any = booster.get("weight_drop")
    booster = booster.get("gbtree", booster)
    model = booster.get("model", {})
    trees = model.get("trees")
    if trees is None:
        raise ValueError(
            f"expected a model of trees, got booster={booster.get('name', '?')!r}, which has none"
        )
    if not trees:
        return tree_table.empty()
    sizes = np.array([tree["left_children"].size for tree in trees])
    offsets = np.cumsum(sizes) - sizes
    of_tree = np.repeat(np.arange(sizes.size), sizes)

    def column(name: str, dtype: type) -> Any:
        return np.concatenate([tree[name] for tree in trees]).astype(dtype)

    leaf = column("left_children", np.int64) < 0

    def children(name: str) -> Any:
        return np.where(leaf, -1, column(name, np.int64) + offsets[of_tree])

    left, right = children("left_children"), children("right_children")
    border = column("split_conditions", np.float64)
    value = _values(trees, border, leaf, sizes)
    if weights is not None:
        value = value * np.asarray(weights, dtype=np.float64)[of_tree, None]
    indptr = np.asarray(model.get("iteration_indptr", np.arange(sizes.size + 1)))
    table = TreeTable(
        tree=of_tree,
        feature=np.where(leaf, NO_FEATURE, column("split_indices", np.int64)),
        threshold=np.where(leaf | (column("split_type", np.int64) == 1), np.nan, border),
        gain=np.where(leaf, 0.0, column("loss_changes", np.float64)),
        cover=column("sum_hessian", np.float64),
        value=np.where(leaf[:, None], value, np.nan),
        left=left,
        right=right,
        depth=tree_table.depths(left, right, offsets),
        round=first_round + np.repeat(np.arange(indptr.size - 1), np.diff(indptr)),
        output=np.asarray(model["tree_info"], dtype=np.int64),
    )
    return tree_table.reachable(table)


def _values(trees: list[Any], border: Any, leaf: Any, sizes: Any) -> Any:
    """`[N, K]`; a scalar leaf keeps its value in the place of its border."""
    width = int(trees[0]["tree_param"]["size_leaf_vector"])
    if width <= 1:
        return border[:, None]
    value = np.full((int(sizes.sum()), width), np.nan)
    at = 0
    for tree, size in zip(trees, sizes, strict=True):
        # Vector leaves lie in an array of their own, and the right child holds the place in it.
        vectors = np.asarray(tree["leaf_weights"], dtype=np.float64).reshape(-1, width)
        inside = leaf[at : at + size]
        value[at : at + size][inside] = vectors[np.asarray(tree["right_children"])[inside]]
        at += size
    return value
