"""Statistics of ensembles against slow twins and known laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer.analyzers.tree_figures import TreeTotals
from gradtracer.analyzers.tree_reading import read_model
from gradtracer.analyzers.tree_table import TreeTable
from gradtracer.statistics.divergence import divergence, settled_from
from gradtracer.statistics.leaf_velocity import growth, late_share, leaf_velocity, tail_start
from gradtracer.statistics.path_pairs import PathPairs
from gradtracer.statistics.single_feature import explained_alone
from gradtracer.statistics.split_gain import gain_shares, gain_totals, longest_piece, merged

RNG = np.random.default_rng(0)


def rounds_of(table: TreeTable, low: int, high: int) -> TreeTable:
    """Some rounds of a table, renumbered by hand."""
    trees = np.flatnonzero((table.round >= low) & (table.round < high))
    rows = np.isin(table.tree, trees)
    first = int(np.flatnonzero(rows)[0])
    columns: dict[str, Any] = {
        name: getattr(table, name)[rows]
        for name in ("tree", "feature", "threshold", "gain", "cover", "value", "depth")
    }
    children = {
        name: np.where(getattr(table, name)[rows] >= 0, getattr(table, name)[rows] - first, -1)
        for name in ("left", "right")
    }
    columns["tree"] = columns["tree"] - trees[0]
    return TreeTable(**columns, **children, round=table.round[trees], output=table.output[trees])


FACTS = BoosterFacts("xgboost", "Booster")


@pytest.fixture(scope="module")
def table() -> TreeTable:
    import lightgbm

    x = np.random.default_rng(3).normal(size=(800, 5))
    y = np.digitize(x[:, 0] + x[:, 1] * x[:, 2], [-0.5, 0.5])
    parameters = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    return read_model(lightgbm.train(parameters, lightgbm.Dataset(x, y), 30)).table


def test_velocity_is_the_spread_of_what_a_round_adds(table: TreeTable) -> None:
    velocity = leaf_velocity(table)
    for number in (0, 7, 29):
        square = 0.0
        for tree in np.flatnonzero(table.round == number):
            rows = (table.tree == tree) & table.leaves
            examples = np.repeat(table.value[rows, 0], table.cover[rows].astype(int))
            square += examples.var()
        assert velocity[number] == pytest.approx(math.sqrt(square))


def test_totals_over_stretches_are_those_of_the_whole(table: TreeTable) -> None:
    whole, parts = TreeTotals(FACTS), TreeTotals(FACTS)
    whole.add(table, 5)
    for low in range(0, 30, 3):
        parts.add(rounds_of(table, low, low + 3), 5)
    np.testing.assert_allclose(parts.velocity, whole.velocity)
    assert (parts.trees, parts.leaves, parts.deepest) == (whole.trees, whole.leaves, whole.deepest)
    one, other = parts.gain, whole.gain
    assert one is not None and other is not None
    for got, expected in zip(one, other, strict=True):
        np.testing.assert_allclose(got, expected)


def test_many_stretches_are_joined_and_lose_nothing(table: TreeTable) -> None:
    totals = TreeTotals(FACTS)
    for number in range(150):
        stretch = rounds_of(table, number % 30, number % 30 + 1)
        totals.add(stretch._replace(round=np.full(stretch.trees, number)), 5)
    assert len(totals.gains) <= 64
    assert totals.gain is not None
    assert totals.gain.groups.sum() == pytest.approx(5 * np.maximum(table.gain, 0).sum())
    assert totals.gain.rounds == totals.velocity.size == 150


def test_a_feature_that_appears_later_widens_the_totals(table: TreeTable) -> None:
    narrow = gain_totals(rounds_of(table, 0, 5), 5)
    late = rounds_of(table, 5, 30)
    wide = gain_totals(late._replace(feature=np.where(late.leaves, -1, late.feature + 1)), 6)
    both = merged(narrow, wide)
    assert both.groups.shape == (10, 6)
    assert both.first[0] == narrow.first[0]
    assert both.first[5] >= 5
    assert both.last[0] == narrow.last[0]


@pytest.mark.parametrize(("decay", "share"), [(1.0, 0.25), (0.9, 0.0)])
def test_the_last_quarter_of_equal_and_of_dying_steps(decay: float, share: float) -> None:
    late = late_share(decay ** np.arange(200))
    assert late is not None
    assert late.value == pytest.approx(share, abs=1e-6)
    assert late.n == 200


def test_the_error_of_the_late_share_covers_its_noise() -> None:
    """Steps that scatter about one size: the truth is a quarter."""
    inside = 0
    for seed in range(300):
        late = late_share(np.random.default_rng(seed).gamma(4.0, size=200))
        assert late is not None
        inside += abs(late.value - 0.25) < 1.96 * late.error
    assert 0.90 <= inside / 300 <= 0.99


def test_few_rounds_and_no_movement_have_no_late_share() -> None:
    assert late_share(np.ones(39)) is None
    assert late_share(np.zeros(100)) is None


def test_the_tail_holds_at_most_its_share() -> None:
    velocity = np.array([8.0, 4.0, 2.0, 1.0, 1.0])
    assert tail_start(velocity, 0.125) == 3
    assert tail_start(velocity, 0.0) == 5
    assert tail_start(np.zeros(3), 0.5) == 0


def test_growth_is_the_slope_of_the_logarithm() -> None:
    noise = np.exp(0.05 * RNG.normal(size=400))
    trend = growth(np.exp(-0.01 * np.arange(400)) * noise)
    assert trend is not None
    assert abs(trend.rate + 0.01) < 4 * trend.error
    assert 0 < trend.error < 1e-3
    assert growth(np.ones(38)) is None
    assert growth(np.zeros(400)) is None


def test_the_longest_piece_of_a_broken_stick_follows_fishers_law() -> None:
    pieces = np.diff(np.sort(RNG.random((20_000, 9)), axis=1), axis=1, prepend=0.0, append=1.0)
    longest = pieces.max(axis=1)
    for share in (0.2, 0.3, 0.5):
        assert longest_piece(share, 10) == pytest.approx((longest > share).mean(), abs=0.012)
    assert longest_piece(0.9, 1) == 1.0
    assert longest_piece(0.0001, 2_000) == 1.0


def test_concentration_of_one_and_of_equal_features(table: TreeTable) -> None:
    totals = gain_totals(table, 5)
    even = gain_shares(totals._replace(groups=np.ones((10, 5))))
    alone = gain_shares(totals._replace(groups=np.eye(5)[[2] * 10]))
    assert even is not None and alone is not None
    assert (even.gini, math.exp(even.entropy)) == (pytest.approx(0.0), pytest.approx(5.0))
    assert (alone.gini, math.exp(alone.entropy)) == (pytest.approx(0.8), pytest.approx(1.0))
    assert alone.top == 2 and alone.p_value == 0.0
    assert gain_shares(totals._replace(groups=np.zeros((10, 5)))) is None


def test_a_wandering_metric_is_called_turned_as_rarely_as_it_says() -> None:
    """The null law: the minimum of a driftless walk lies below its end for no reason."""
    small = 0
    for seed in range(1_000):
        walk = np.cumsum(np.random.default_rng(seed).normal(size=300))
        turn = divergence(walk)
        assert turn is not None
        small += turn.p_value <= 0.05
    assert small / 1_000 <= 0.075


def test_a_metric_that_jitters_about_a_level_is_called_turned_as_rarely() -> None:
    small = 0
    for seed in range(1_000):
        turn = divergence(np.random.default_rng(seed).normal(size=300))
        assert turn is not None
        small += turn.p_value <= 0.05
    assert small / 1_000 <= 0.06


def test_a_metric_that_turns_is_found_with_the_round_in_its_interval() -> None:
    hits = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        t = np.arange(200)
        values = np.where(t < 80, 1 - t / 100, 0.2 + (t - 80) / 400) + 0.005 * rng.normal(size=200)
        turn = divergence(values)
        assert turn is not None
        assert turn.p_value < 0.01
        hits += turn.low <= 80 <= turn.high
    assert hits >= 45


def test_a_falling_a_flat_and_a_short_metric_do_not_turn() -> None:
    falling = divergence(np.linspace(1, 0, 100))
    flat = divergence(np.ones(100))
    assert falling is not None and falling.p_value == 1.0
    assert flat is not None and flat.p_value == 1.0
    assert divergence(np.ones(19)) is None
    assert divergence(np.full(100, np.nan)) is None


def test_a_metric_settles_where_nothing_moves_it_any_more() -> None:
    assert settled_from(np.array([5.0, 3.0, 1.0, 1.1, 1.0]), 0.2) == 2
    assert settled_from(np.array([1.0, 1.0]), 0.0) == 0


@pytest.mark.parametrize("dense", [0, 1_000])
def test_pairs_on_paths_are_those_that_interact(
    table: TreeTable, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradtracer.statistics.path_pairs._DENSE", dense)
    counted = PathPairs(int(table.feature.max()) + 1)
    counted.add(table)
    pairs = counted.strongest()
    assert pairs[0][:2] == (1, 2)
    assert all(one < other for one, other, _ in pairs)
    slow: dict[tuple[int, int], float] = {}
    total, parent = 0.0, np.full(table.tree.size, -1)
    parent[table.left[table.inner]] = parent[table.right[table.inner]] = table.inner
    for row in np.flatnonzero(~table.leaves & (parent >= 0)).tolist():
        pair = sorted((int(table.feature[parent[row]]), int(table.feature[row])))
        total += max(table.gain[row], 0.0)
        if pair[0] != pair[1]:
            slow[pair[0], pair[1]] = slow.get((pair[0], pair[1]), 0.0) + max(table.gain[row], 0.0)
    assert {pair[:2]: pair[2] for pair in pairs} == pytest.approx(
        {pair: gain / total for pair, gain in slow.items()}
    )


def test_what_one_feature_explains_is_measured_on_others() -> None:
    n = 4_000
    x, noise = RNG.normal(size=n), RNG.normal(size=n)
    half = explained_alone(x, x + noise, classes=False)
    nothing = explained_alone(np.arange(n)[RNG.permutation(n)], noise, classes=False)
    everything = explained_alone(x, (x > 0).astype(int), classes=True)
    assert half is not None and nothing is not None and everything is not None
    assert abs(half.value - 0.5) < 3 * half.error + 0.01
    assert nothing.value < 0.01
    assert everything.value > 0.9


@pytest.mark.parametrize("make", [np.asarray, lambda v: np.asarray(v, dtype=object)])
def test_categories_and_missing_values_are_bins_of_their_own(
    make: Callable[[Any], np.ndarray],
) -> None:
    kind = RNG.choice(["a", "b", "c"], 900)
    y = (kind == "b") * 2.0
    found = explained_alone(make(kind), y, classes=False)
    assert found is not None and found.value == pytest.approx(1.0)
    missing = np.where(kind == "b", np.nan, RNG.normal(size=900))
    found = explained_alone(missing, y, classes=False)
    assert found is not None and found.value > 0.99


def test_few_examples_and_a_constant_target_explain_nothing() -> None:
    assert explained_alone(np.arange(99.0), np.arange(99.0), classes=False) is None
    assert explained_alone(np.arange(200.0), np.ones(200), classes=False) is None
