"""Sums over a table of trees do not depend on the pieces in which it is gone through."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest

from gradtracer.analyzers import tree_table
from gradtracer.analyzers.tree_reading import read_model
from gradtracer.statistics import path_pairs as pairs
from gradtracer.statistics.leaf_velocity import leaf_velocity
from gradtracer.statistics.split_gain import gain_totals

FEATURES = 6


@pytest.fixture(scope="module")
def table() -> tree_table.TreeTable:
    """Three trees a round, so that pieces end within rounds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, FEATURES))
    classes = np.digitize(x[:, 0] + x[:, 1] * x[:, 2], [-0.5, 0.5])
    how = {"objective": "multiclass", "num_class": 3, "num_leaves": 7, "verbose": -1}
    return read_model(lightgbm.train(how, lightgbm.Dataset(x, classes), 7)).table


def sums(table: tree_table.TreeTable) -> tuple[Any, ...]:
    counted = pairs.PathPairs(FEATURES)
    counted.add(table)
    return leaf_velocity(table), *gain_totals(table, FEATURES), counted.strongest()


@pytest.mark.parametrize("nodes", [1, 20, 100])
@pytest.mark.parametrize("dense", [True, False])
def test_sums_over_pieces_are_those_of_the_whole(
    table: tree_table.TreeTable, monkeypatch: pytest.MonkeyPatch, nodes: int, dense: bool
) -> None:
    if not dense:
        monkeypatch.setattr(pairs, "_DENSE", 1)
    (whole,) = table.stretches()
    assert whole == range(table.tree.size)
    expected = sums(table)
    monkeypatch.setattr(tree_table, "_AT_ONCE", nodes)
    pieces = table.stretches()
    assert len(pieces) > 1
    assert [row for rows in pieces for row in rows] == list(whole)
    for rows in pieces:
        assert table.depth[rows.start] == 0
    for one, other in zip(expected, sums(table), strict=True):
        np.testing.assert_allclose(np.array(one, dtype=float), np.array(other, dtype=float))


def test_a_table_without_trees_has_one_piece_without_nodes() -> None:
    assert tree_table.empty().stretches() == [range(0)]
