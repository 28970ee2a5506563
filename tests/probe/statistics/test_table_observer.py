"""The observer of a table, driven by real layers and optimizers."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from bursts import follows_next
from torch import nn

from gradtracer.analyzers.table_figures import TableFigures, measure
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_rows import live_rows
from gradtracer.analyzers.table_state import read_state
from gradtracer.settings import Settings

Layer = nn.Embedding | nn.EmbeddingBag


class Loop:
    """A layer, an optimizer and an observer."""

    def __init__(self, layer: Layer, *, interval: int = 1, **sgd: Any) -> None:
        self.layer = layer
        self.steps = 0
        self.optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, **sgd)
        self.observer = TableObserver(
            layer.weight.detach(), track_interval=interval, seed=0, padding_idx=layer.padding_idx
        )

    def step(self, ids: torch.Tensor, scale: float = 1.0, **arguments: Any) -> None:
        self.optimizer.zero_grad()
        out = self.layer(ids, **arguments)
        self.observer.look_up(ids, trains=True)
        (scale * out).float().square().sum().backward()
        with torch.no_grad():
            self.observer.before_step(self.layer.weight, self.layer.weight.grad, self.steps)
            self.optimizer.step()
            self.steps += 1
            self.observer.after_step(self.layer.weight)

    def figures(self) -> TableFigures:
        self.observer.count_pending()
        weight = self.layer.weight.detach()
        return measure("t", live_rows(self.observer, self.layer.padding_idx), weight, Settings())


def ids_of(rows: int, size: int, steps: int, seed: int = 0) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(rows, (size,), generator=g) for _ in range(steps)]


@pytest.mark.parametrize("interval", [1, 10, 100])
def test_exposure_is_exact_at_every_interval(interval: int) -> None:
    loop = Loop(nn.Embedding(50, 4, sparse=True), interval=interval)
    batches = ids_of(40, 9, 150)
    for ids in batches:
        loop.step(ids)
    truth = np.bincount(torch.cat(batches).numpy(), minlength=50)
    figures = loop.figures()
    assert figures.counts.tolist() == truth.tolist()
    assert figures.coverage == (truth > 0).mean()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_ids_that_the_loader_overwrites_after_the_step_are_counted_as_they_were(
    dtype: torch.dtype,
) -> None:
    loop = Loop(nn.Embedding(200, 4), interval=2)
    ids = torch.zeros(60, dtype=dtype)
    for step in range(100):
        ids.fill_(step)
        loop.step(ids)
    assert loop.observer.pauses
    assert loop.figures().counts.tolist() == [60] * 100 + [0] * 100


def test_passes_of_a_step_are_counted_in_a_pause_where_the_buffer_ends_between_them() -> None:
    loop = Loop(nn.Embedding(50, 4, sparse=True), interval=100)
    batches = ids_of(50, 9, 100)
    for ids in batches:
        loop.step(ids)
    assert loop.observer.pauses
    passes = [ids_of(50, size, 1, size)[0] for size in (5_000, 3_000, 2_000, 9_000, 0, 1)]
    for each in passes:
        loop.observer.look_up(each, trains=True)
    loop.observer.before_step(loop.layer.weight, None)
    truth = torch.bincount(torch.cat([*batches, *passes]), minlength=50)
    assert read_state(loop.observer).counts.tolist() == truth.tolist()
    assert loop.observer.look_ups == int(truth.sum())


def test_a_batch_larger_than_the_buffer_and_a_small_one_after_it_are_counted() -> None:
    loop = Loop(nn.Embedding(50, 4), interval=1)
    batches = [ids_of(50, size, 1, size)[0] for size in (30, 9_000, 30, 20_000, 7, 4_096)]
    for ids in batches:
        loop.step(ids)
    truth = np.bincount(torch.cat(batches).numpy(), minlength=50)
    assert loop.figures().counts.tolist() == truth.tolist()
    steps = [sum(row in ids for ids in batches) for row in range(50)]
    assert loop.observer.noise.exposures.tolist() == steps


def test_counting_waits_longer_than_the_noise_and_neither_loses_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gradtracer.analyzers.table_observer._SETTLE_SECONDS", 3_600)
    rows, interval = 200_000, 2
    loop = Loop(nn.Embedding(rows, 4, sparse=True), interval=interval)
    batches = ids_of(40, 200, 300)
    followed = np.zeros(rows, dtype=int)
    for ids in batches:
        before = loop.observer.tracked_steps
        loop.step(ids)
        if loop.observer.tracked_steps > before:
            followed[ids.unique().numpy()] += 1
    assert 0 < loop.observer.tracked_steps < 300
    assert loop.observer._recent.end > 200 * loop.observer.noise.together
    loop.observer.count_pending()
    truth = np.bincount(torch.cat(batches).numpy(), minlength=rows)
    assert loop.observer.exposure.counts.tolist() == truth.tolist()
    known = loop.observer.noise.exposures.numpy()
    assert (known[followed > 41] > 30).all()
    assert (known[followed == 0] == 0).all()


def test_another_thread_reads_exact_counts_between_steps_without_settling_them() -> None:
    loop = Loop(nn.Embedding(50, 4), interval=10)
    batches = ids_of(50, 9, 30)
    for number, ids in enumerate(batches, 1):
        loop.step(ids)
        truth = np.bincount(torch.cat(batches[:number]).numpy(), minlength=50)
        assert read_state(loop.observer).counts.tolist() == truth.tolist()
    assert loop.observer._recent.end > 0


def test_a_reader_that_meets_a_settling_step_never_counts_it_twice() -> None:
    observer = TableObserver(torch.empty(7, 1), track_interval=10, seed=0, padding_idx=None)
    training = threading.Thread(target=lambda: [count_one(observer) for _ in range(3_000)])
    training.start()
    seen = [0]
    while training.is_alive():
        seen.append(int(observer.counts_now().sum()))
    training.join()
    assert seen == sorted(seen)
    assert seen[-1] <= int(observer.counts_now().sum()) == 3_000


def count_one(observer: TableObserver) -> None:
    observer.look_up(torch.zeros(1, dtype=torch.int64), trains=True)
    observer.before_step(torch.empty(7, 1), None)


def test_steps_with_and_without_a_gradient_take_turns() -> None:
    loop = Loop(nn.Embedding(50, 4, sparse=True), interval=1)
    for number, ids in enumerate(ids_of(50, 9, 30)):
        loop.observer.look_up(ids, trains=True)
        if number % 3:
            loop.observer.before_step(loop.layer.weight, None)
        else:
            loop.step(ids)
    assert loop.figures().unseen.look_ups == 9 * (20 + 2 * 10)
    assert loop.observer.tracked_steps == 10


def test_a_zero_row_batch_changes_nothing() -> None:
    loop = Loop(nn.Embedding(5, 4))
    for _ in range(3):
        loop.step(torch.zeros(0, dtype=torch.int64))
    assert loop.figures().unseen.look_ups == 0
    assert loop.observer.tracked_steps == 0


@pytest.mark.parametrize("sparse", [True, False])
def test_a_table_of_one_row_and_one_dimension_is_measured(sparse: bool) -> None:
    loop = Loop(nn.Embedding(1, 1, sparse=sparse))
    for _ in range(12):
        loop.step(torch.tensor([0, 0]))
    figures = loop.figures()
    assert figures.counts.tolist() == [24]
    assert (figures.rank, figures.gini) == (None, None)
    assert figures.zombies.rows.size == 0


def test_padding_is_neither_seen_nor_unseen() -> None:
    loop = Loop(nn.Embedding(6, 4, padding_idx=2))
    for _ in range(10):
        loop.step(torch.tensor([[2, 1, 2], [0, 2, 2]]))
    figures = loop.figures()
    assert figures.rows == 5
    assert figures.counts.tolist() == [10, 10, 0, 0, 0, 0]
    assert figures.unseen.unseen == 3
    assert figures.unseen.look_ups == 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("sparse", [True, False])
def test_tables_of_other_number_types_are_measured(dtype: torch.dtype, sparse: bool) -> None:
    loop = Loop(nn.Embedding(30, 6, dtype=dtype, sparse=sparse))
    for ids in ids_of(30, 16, 20):
        loop.step(ids)
    figures = loop.figures()
    assert figures.noise_energy > 0
    assert figures.velocity is not None
    assert figures.velocity > 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_are_counted_and_leave_no_trace(bad: float) -> None:
    loop = Loop(nn.Embedding(20, 4, sparse=True))
    for k, ids in enumerate(ids_of(20, 8, 20)):
        keep = loop.layer.weight.detach().clone()
        loop.step(ids, scale=bad if k in (4, 11) else 1.0)
        if k in (4, 11):
            with torch.no_grad():
                loop.layer.weight.copy_(keep)
    figures = loop.figures()
    assert (figures.nonfinite_steps, figures.first_nonfinite) == (2, 4)
    assert np.isfinite(figures.noise_energy)
    assert figures.velocity is not None
    assert np.isfinite(figures.velocity)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_with_offsets_are_observed_by_their_ids(mode: str) -> None:
    # Under "max" a row whose neighbour is larger everywhere has no gradient.
    torch.manual_seed(0)
    loop = Loop(nn.EmbeddingBag(10, 4, mode=mode, sparse=mode != "max"))
    offsets = torch.tensor([0, 2, 2])
    for _ in range(12):
        loop.step(torch.tensor([1, 1, 3, 9, 9]), offsets=offsets)
    figures = loop.figures()
    assert figures.counts[[1, 3, 9]].tolist() == [24, 12, 24]
    assert loop.observer.noise.exposures.tolist()[1] == 12
    assert bool((loop.observer.noise.energy[[1, 3, 9]] > 0).all())


def test_int32_ids_and_ids_of_any_shape_are_counted() -> None:
    loop = Loop(nn.Embedding(5, 4))
    loop.step(torch.tensor([[[0, 1]], [[1, 4]]], dtype=torch.int32))
    assert loop.figures().counts.tolist() == [1, 2, 0, 0, 1]


def test_momentum_on_rows_without_examples_is_drift_and_plain_steps_are_not() -> None:
    shares = []
    for momentum in (0.0, 0.95):
        loop = Loop(nn.Embedding(200, 4), momentum=momentum)
        for ids in ids_of(200, 4, 400):
            loop.step(ids)
        drift = loop.figures().drift
        assert drift is not None
        shares.append(drift)
    assert shares[0].value == 0.0
    assert shares[1].interval[0] > 0.5


def test_a_sparse_gradient_has_no_drift_to_look_for() -> None:
    loop = Loop(nn.Embedding(200, 4, sparse=True))
    for ids in ids_of(200, 4, 400):
        loop.step(ids)
    assert loop.figures().drift is None


def test_velocity_is_the_step_length_of_a_row() -> None:
    loop = Loop(nn.Embedding(30, 4, sparse=True))
    with torch.no_grad():
        loop.layer.weight.fill_(0.5)
    loop.step(torch.arange(30))
    # Gradient 2 w, rate 0.1, four dimensions.
    assert loop.figures().velocity == pytest.approx(0.1 * 2 * 0.5 * 2.0)


@pytest.mark.parametrize("interval", [2, 10, 100])
@pytest.mark.parametrize(("rows", "batch"), [(100, 32), (2_000, 64), (10**6, 1_024)])
def test_bursts_are_whole_and_take_their_share_of_every_long_prefix(
    interval: int, rows: int, batch: int
) -> None:
    observer = TableObserver(
        torch.empty(rows, 1), track_interval=interval, seed=0, padding_idx=None
    )
    observer.tracked_steps = 0
    steps = 600 * interval
    followed = [follows_next(observer, batch) for _ in range(steps)]
    assert followed[0]
    lengths = [len(run) for run in "".join("x" if f else " " for f in followed).split()]
    assert min(lengths[:-1], default=64) >= 64
    for prefix in range(steps // 10, steps, 97):
        longest = max(lengths)
        assert sum(followed[:prefix]) <= prefix / interval + longest
        assert sum(followed[:prefix]) >= prefix / interval - longest


def test_a_gradient_that_is_part_of_a_graph_is_followed_and_left_alone() -> None:
    loop = Loop(nn.Embedding(50, 4))
    weight = loop.layer.weight
    for ids in ids_of(50, 9, 20):
        loop.observer.look_up(ids, trains=True)
        out = loop.layer(ids).pow(3).sum()
        (grad,) = torch.autograd.grad(out, weight, create_graph=True)
        loop.observer.before_step(weight, grad)
        loop.observer.after_step(weight)
        assert grad.requires_grad
    loop.observer.count_pending()
    assert loop.observer.tracked_steps == 20
    assert not loop.observer.noise.state.requires_grad
    assert not loop.observer.movement.sums.requires_grad
    assert bool((loop.observer.noise.energy > 0).any())


def test_a_pause_passes_without_a_gradient_to_look_at() -> None:
    loop = Loop(nn.Embedding(50, 4, sparse=True), interval=2)
    followed: list[bool] = []
    for ids in ids_of(50, 9, 300):
        before = loop.observer.tracked_steps
        if loop.observer.pauses:
            loop.observer.look_up(ids, trains=True)
            loop.observer.before_step(loop.layer.weight, None)
        else:
            loop.step(ids)
        followed.append(loop.observer.tracked_steps > before)
    burst = followed.index(False)
    assert followed == [step // burst % 2 == 0 for step in range(300)]


def test_state_is_20_bytes_a_row() -> None:
    observer = TableObserver(torch.empty(100_000, 64), track_interval=10, seed=0, padding_idx=None)
    kept = (observer.exposure.counts, observer.noise.state)
    assert sum(tensor.nbytes for tensor in kept) == 20 * 100_000
