"""A weight that gradients reach and no optimizer holds is named, and no other one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.standing import Standing
from gradtracer.callsite import call_site
from gradtracer.run import Run
from gradtracer.watching import observe


class Model(nn.Module):
    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        self.users = nn.Embedding(50, 8, sparse=sparse)
        self.items = nn.Embedding(50, 8, sparse=sparse)
        self.hidden = nn.Linear(8, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.hidden(self.users(users) * self.items(items))))


def train(
    run: Run,
    model: Model,
    left_out: str,
    *,
    steps: int = 40,
    by_hand: Callable[[nn.Parameter], None] | None = None,
) -> dict[str, list[str]]:
    """What is said of each layer after a training whose optimizer lacks one."""
    torch.manual_seed(0)
    observe(model, run, settings=run.settings, site=call_site())
    held = [p for name, p in model.named_parameters() if not name.startswith(left_out)]
    optimizer = torch.optim.SGD(held, lr=0.1)
    for _ in range(steps):
        users, items = torch.randint(50, (2, 64))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(users, items)[:, 0], torch.randn(64)).backward()
        optimizer.step()
        if by_hand is not None:
            by_hand(model.get_submodule(left_out).weight)  # pyright: ignore[reportArgumentType]
    for tracker in list(run.trackers):
        tracker.publish(final=True)
    found: dict[str, list[str]] = {}
    for tracker in run.trackers:
        for each in getattr(tracker, "diagnoses", []):
            if each.type == "STAGNATION":
                found.setdefault(each.layer, []).append(each.premise)
    return found


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("left_out", ["items", "hidden"])
def test_what_the_optimizer_lacks_is_named_with_its_steps(run: Run, left_out: str, sparse: bool):
    (said,) = train(run, Model(sparse=sparse), left_out)[left_out]
    assert "No optimizer holds" in said
    assert "40 steps" in said


def test_a_whole_optimizer_few_steps_and_frozen_weights_are_nothing_to_say(run: Run):
    assert train(run, Model(), "nothing") == {}
    assert train(run, Model(), "items", steps=20) == {}
    frozen = Model()
    frozen.items.requires_grad_(False)
    assert train(run, frozen, "items") == {}


@pytest.mark.parametrize("left_out", ["items", "hidden"])
def test_weights_that_are_updated_by_hand_are_not_left_out(run: Run, left_out: str):
    def update(weight: nn.Parameter) -> None:
        assert weight.grad is not None
        weight.data -= 0.1 * weight.grad

    assert train(run, Model(), left_out, by_hand=update) == {}


def test_an_optimizer_that_takes_over_later_clears_it(run: Run):
    model = Model()
    assert set(train(run, model, "items")) == {"items"}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        users, items = torch.randint(50, (2, 64))
        optimizer.zero_grad()
        model(users, items).square().mean().backward()
        optimizer.step()
    (tracker,) = [
        each for each in run.trackers if isinstance(each, EmbeddingTracker) and each.name == "items"
    ]
    assert all(found.type != "STAGNATION" for found in tracker.findings())


def test_values_of_a_weight_that_has_none_or_is_no_longer_the_same_are_not_known():
    weight = nn.Parameter(torch.randn(3, 4))
    standing = Standing(weight, 10)
    assert standing.steps(weight, 50) == 0
    weight.grad = torch.ones(3, 4)
    assert standing.steps(weight, 50) == 40
    assert standing.steps(nn.Parameter(torch.randn(3, 4)), 50) == 0
    with torch.no_grad():
        weight[2, 3] += 1
    assert standing.steps(weight, 50) == 0
