"""An optimizer that is given a closure runs forward and backward within its step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.run import Run
from gradtracer.settings import Settings

Step = Callable[[torch.optim.Optimizer, Callable[[], Any]], Any]


def plain(optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> Any:
    loss = closure()
    optimizer.step()
    return loss


WAYS: dict[str, Step] = {
    "by place": lambda optimizer, closure: optimizer.step(closure),
    "by name": lambda optimizer, closure: optimizer.step(closure=closure),
}


def figures_after(folder: Path, step: Step) -> tuple[dict[str, Any], torch.Tensor, int, list[Any]]:
    run = Run(root=folder, settings=Settings(report_seconds=3600, publish=False))
    torch.manual_seed(0)
    table = nn.Embedding(40, 8)
    tracker = EmbeddingTracker(table, run=run)
    optimizer = torch.optim.Adam(table.parameters())
    losses: list[Any] = []
    for number in range(12):
        ids = torch.arange(16) + number % 3

        def closure(ids: torch.Tensor = ids) -> torch.Tensor:
            optimizer.zero_grad()
            loss = table(ids).square().mean()
            loss.backward()
            return loss

        losses.append(step(optimizer, closure).item())
    run.finish()
    summary = {name: value for name, value in tracker.summary().items() if value == value}
    return summary, table.weight.detach().clone(), run.step, losses


@pytest.mark.parametrize("way", WAYS)
def test_everything_measured_is_what_it_is_without_a_closure(tmp_path: Path, way: str) -> None:
    expected = figures_after(tmp_path, plain)
    measured = figures_after(tmp_path, WAYS[way])
    assert measured[0] == expected[0]
    assert torch.equal(measured[1], expected[1])
    assert measured[2:] == expected[2:]
    assert expected[0]["exposures"] == 12 * 16
    assert expected[2] == 12


def test_a_closure_that_is_called_more_than_once_keeps_its_result(tmp_path: Path) -> None:
    run = Run(root=tmp_path, settings=Settings(report_seconds=3600, publish=False))
    table = nn.Embedding(10, 4)
    tracker = EmbeddingTracker(table, run=run)
    optimizer = torch.optim.LBFGS(table.parameters(), max_iter=3)
    calls: list[int] = []

    def closure() -> torch.Tensor:
        calls.append(1)
        optimizer.zero_grad()
        loss = table(torch.arange(5)).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(calls) > 1
    assert tracker.figures().unseen.look_ups == 5 * len(calls)
    assert run.step == 1
    run.finish()
