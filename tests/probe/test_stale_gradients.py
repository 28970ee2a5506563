"""STALE_GRADIENTS: raised where nobody clears the gradients, silent however they are cleared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradtracer
from gradtracer.analyzers.training import TrainingTracker
from gradtracer.run import Run
from gradtracer.statistics.kept_gradients import GradientWrites, alike

Clear = Callable[[torch.optim.Optimizer], None]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def train(folder: Path, clear: Clear, *, sparse: bool = False, passes: int = 1) -> Run:
    torch.manual_seed(0)
    table = nn.Embedding(200, 8, sparse=sparse)
    model = table if sparse else nn.Sequential(table, nn.Flatten(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    run = gradtracer.watch(model, folder=str(folder), publish=False, report_seconds=1e6)
    for _ in range(120):
        clear(optimizer)
        for _ in range(passes):
            out = model(torch.randint(200, (32, 2)))
            (
                out.sum((1, 2)) - torch.randn(32) if sparse else out[:, 0] - torch.randn(32)
            ).square().mean().backward()
        optimizer.step()
    return run


def types(run: Run) -> list[str]:
    (tracker,) = [each for each in run.trackers if isinstance(each, TrainingTracker)]
    found = [each.type for each in tracker.findings(tracker.figures())]
    run.finish()
    return found


def nothing(_: torch.optim.Optimizer) -> None:
    pass


def by_data(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad.data.zero_()


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_that_nobody_clears_are_said(folder: Path, sparse: bool) -> None:
    assert "STALE_GRADIENTS" in types(train(folder, nothing, sparse=sparse))


@pytest.mark.parametrize(
    ("clear", "sparse", "passes"),
    [
        (lambda optimizer: optimizer.zero_grad(), False, 1),
        (lambda optimizer: optimizer.zero_grad(), True, 1),
        (lambda optimizer: optimizer.zero_grad(set_to_none=False), False, 1),
        (lambda optimizer: optimizer.zero_grad(), False, 9),
        (by_data, False, 1),
    ],
)
def test_gradients_that_are_cleared_in_whatever_way_are_not(
    folder: Path, clear: Clear, sparse: bool, passes: int
) -> None:
    assert "STALE_GRADIENTS" not in types(train(folder, clear, sparse=sparse, passes=passes))


def test_writes_are_counted_from_one_look_to_the_next() -> None:
    writes, kept, cleared = GradientWrites(), torch.zeros(3), torch.zeros(3)
    for step in range(1, 25):
        kept += 1
        cleared.zero_()
        cleared += 1
        if step % 8 == 0:
            writes.look([kept, None], step)
    assert (writes.kept, writes.of) == (16, 16)
    for step in range(25, 41):
        kept += 1
        if step % 8 == 0:
            writes.look([kept, cleared], step)
    assert (writes.kept, writes.of) == (16, 32)


def test_neighbours_of_a_sum_are_alike_and_of_single_draws_are_not() -> None:
    draws = np.random.default_rng(0).normal(size=(64, 500))
    assert alike(draws.cumsum(0)[32:]) > 0.95
    assert abs(alike(draws)) < 0.1
    assert alike(draws[:1]) == 0.0
    assert alike(np.zeros((3, 4))) == 0.0
