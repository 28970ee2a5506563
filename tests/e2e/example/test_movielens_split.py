"""The split leaks nothing, and the metrics agree with a slow twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import movielens
from movielens_mf import evaluate


def pairs(array: np.ndarray) -> set[tuple[int, int]]:
    return {(user, item) for user, item in array.tolist()}


def test_leave_one_out_holds_out_the_last_two_of_each_user() -> None:
    drawn = movielens.generate(3, users=50, items=200, interactions=2000)
    split = movielens.leave_one_out(drawn)
    for user, last, second in zip(
        split.test[:, 0], split.test[:, 1], split.validation[:, 1], strict=True
    ):
        mine = drawn.users == user
        in_time = drawn.items[mine][np.argsort(drawn.timestamps[mine])]
        assert in_time[-1] == last
        assert in_time[-2] == second


def test_leave_one_out_leaks_no_pair_and_loses_none() -> None:
    drawn = movielens.generate(3, users=50, items=200, interactions=2000)
    split = movielens.leave_one_out(drawn)
    train, validation, test = map(pairs, (split.train, split.validation, split.test))
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert train | validation | test == pairs(np.stack([drawn.users, drawn.items], axis=1))
    assert len(validation) == len(test) == 50


def test_equal_timestamps_keep_the_order_of_the_file() -> None:
    table = movielens.Interactions(
        users=np.array([7, 7, 7, 7]),
        items=np.array([4, 9, 2, 5]),
        ratings=np.ones(4, np.int64),
        timestamps=np.array([1, 1, 1, 1]),
        source="here",
    )
    split = movielens.leave_one_out(table)
    assert pairs(split.test) == {(7, 5)}
    assert pairs(split.validation) == {(7, 2)}


def test_users_with_fewer_than_three_stay_in_training() -> None:
    table = movielens.Interactions(
        users=np.array([1, 1, 2, 2, 2]),
        items=np.array([1, 2, 1, 2, 3]),
        ratings=np.ones(5, np.int64),
        timestamps=np.arange(5),
        source="here",
    )
    split = movielens.leave_one_out(table)
    assert pairs(split.train) == {(1, 1), (1, 2), (2, 1)}
    assert pairs(split.test) == {(2, 3)}


class Scores:
    """Stands for a model: a table of scores."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def score_all(self) -> Tensor:
        return self.table.clone()


def slow_twin(table: Tensor, held_out: Tensor, train: Tensor, k: int) -> tuple[float, float]:
    seen = pairs(train.numpy())
    gains, hits = [], []
    for user, item in held_out.tolist():
        target = float(table[user, item])
        rank = 0
        for other in range(1, table.shape[1]):
            if other == item or (user, other) in seen:
                continue
            score = float(table[user, other])
            if math.isnan(target) or math.isnan(score) or score >= target:
                rank += 1
        gains.append(1 / math.log2(rank + 2) if rank < k else 0.0)
        hits.append(1.0 if rank < k else 0.0)
    return sum(gains) / len(gains), sum(hits) / len(hits)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("values", ["distinct", "tied", "with NaN"])
def test_metrics_agree_with_a_slow_twin(seed: int, values: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(30, 40, generator=generator)
    if values == "tied":
        table = table.round()
    if values == "with NaN":
        table[torch.rand(30, 40, generator=generator) < 0.1] = torch.nan
    order = torch.argsort(torch.rand(30, 39, generator=generator), dim=1) + 1
    users = torch.arange(30)
    train = torch.stack([users.repeat_interleave(6), order[:, :6].reshape(-1)], dim=1)
    held_out = torch.stack([users, order[:, 6]], dim=1)
    for k in (1, 10):
        fast = evaluate(Scores(table), held_out, train, k)
        assert fast == pytest.approx(slow_twin(table, held_out, train, k))


def test_a_model_that_knows_nothing_gets_no_credit() -> None:
    held_out, train = torch.tensor([[1, 5]]), torch.tensor([[1, 2]])
    for table in (torch.zeros(2, 40), torch.full((2, 40), torch.nan)):
        assert evaluate(Scores(table), held_out, train) == (0.0, 0.0)


def test_padding_and_films_met_in_training_are_no_competitors() -> None:
    table = torch.zeros(2, 40)
    table[1, 0] = table[1, 2] = 9.0
    table[1, 5] = 1.0
    held_out, train = torch.tensor([[1, 5]]), torch.tensor([[1, 2]])
    assert evaluate(Scores(table), held_out, train, 1) == (1.0, 1.0)
    assert evaluate(Scores(table), held_out, torch.tensor([[1, 3]]), 1) == (0.0, 0.0)
