"""What the wandering of weights costs is measured under any optimizer, without a second pass."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from gradtracer.analyzers.weight_looks import WeightLooks
from gradtracer.statistics.noise_floor import LEAST_LOOKS, NoiseFloor, noise_floor


def wandering(
    looks: int, dim: int, seed: int, *, rate: float = 0.1, every: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """SGD on a parabola of curvature 1 with gradient noise of deviation 1, at its end."""
    g = np.random.default_rng(seed)
    w = g.normal(0, (rate / (2 - rate)) ** 0.5, dim)
    weights, gradients = [], []
    for step in range(looks * every):
        grad = w + g.normal(0, 1, dim)
        if step % every == 0:
            weights.append(w)
            gradients.append(grad)
        w = w - rate * grad
    return np.array(weights), np.array(gradients)


def test_the_excess_of_a_parabola_is_half_of_curvature_times_variance() -> None:
    weights, gradients = wandering(400, 50, 0)
    found = noise_floor(weights, gradients, np.ones(50))
    assert found is not None
    truth = 0.5 * 50 * 0.1 / 1.9
    assert found.error < 0.1 * truth
    assert abs(found.excess - truth) < 3 * found.error
    some = noise_floor(weights[:, :10], gradients[:, :10], np.full(10, 5.0))
    assert some is not None
    assert abs(some.excess - truth) < 3 * some.error


@pytest.mark.parametrize("every", [2, 16])
def test_an_excess_at_the_limit_is_rarely_called_above_it(every: int) -> None:
    truth, called = 0.5 * 20 * 0.1 / 1.9, 0
    for seed in range(300):
        found = noise_floor(*wandering(24, 20, seed, every=every), np.ones(20))
        assert found is not None
        called += found.p_value_above(truth) < 0.05
    # Binomial: 15 are expected of 300; where looks hang together, fewer.
    assert called <= 25


def test_too_few_looks_or_none_that_is_finite_say_nothing() -> None:
    weights, gradients = wandering(LEAST_LOOKS, 4, 0)
    ones = np.ones(4)
    assert noise_floor(weights[1:], gradients[1:], ones) is None
    gradients[3, 1] = np.nan
    assert noise_floor(weights, gradients, ones) is None
    still = noise_floor(np.zeros((20, 4)), np.zeros((20, 4)), ones)
    assert still is not None and still == NoiseFloor(0.0, 0.0, 20)
    assert still.p_value_above(0.0) == 1.0 and still.p_value_above(-1.0) == 0.0


class Regression:
    """A linear layer on inputs whose labels are noisy; the exact loss is known."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.truth = torch.randn(1, 40)
        self.model = nn.Linear(40, 1, bias=False)

    def exact(self, weight: torch.Tensor) -> float:
        return float((weight - self.truth).square().sum() + 1.0)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        x = torch.randn(16, 40)
        y = x @ self.truth.T + torch.randn(16, 1)
        optimizer.zero_grad()
        (self.model(x) - y).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("SGD", {"lr": 0.05}),
        ("SGD", {"lr": 0.01, "momentum": 0.9}),
        ("Adam", {"lr": 0.1}),
        ("AdamW", {"lr": 0.1, "weight_decay": 0.01}),
        ("RMSprop", {"lr": 0.03}),
    ],
)
def test_every_optimizers_excess_is_what_the_mean_weights_would_save(
    name: str, how: dict[str, float]
) -> None:
    task = Regression()
    optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(task.model.parameters(), **how)
    looks = WeightLooks(seed=0)
    looks.observe(task.model)
    path: list[torch.Tensor] = []
    for step in range(3_000):
        if step >= 1_500:
            path.append(task.model.weight.detach().clone())
        looks_before = hook(looks, optimizer)
        task.step(optimizer)
        looks_before.remove()
    found = looks.read()
    assert found is not None and 20 <= found.looks <= 64
    mean = torch.stack(path).mean(0)
    truth = float(np.mean([task.exact(each) for each in path])) - task.exact(mean)
    assert abs(found.excess - truth) < 4 * found.error
    assert found.error < 0.5 * truth


def hook(looks: WeightLooks, optimizer: torch.optim.Optimizer) -> torch.utils.hooks.RemovableHandle:
    def before(optimizer: torch.optim.Optimizer, _args: object, _kwargs: object) -> None:
        looks.before_step(optimizer)

    return optimizer.register_step_pre_hook(before)


def followed(looks: WeightLooks, table: nn.Embedding, steps: int) -> None:
    """Look-ups that leave most rows out, by a rule that both kinds of gradients follow."""
    optimizer = torch.optim.SGD(table.parameters(), lr=0.5)
    g = torch.Generator().manual_seed(3)
    for _ in range(steps):
        ids = torch.randint(50, (12,), generator=g)
        target = torch.randn(12, 4, generator=g)
        optimizer.zero_grad()
        (table(ids) - target).square().sum(1).mean().backward()
        looks.before_step(optimizer)
        optimizer.step()


def test_sparse_gradients_are_read_as_dense_ones() -> None:
    found: list[NoiseFloor] = []
    for sparse in (False, True):
        torch.manual_seed(0)
        table, looks = nn.Embedding(50, 4, sparse=sparse), WeightLooks(seed=0)
        looks.observe(table)
        followed(looks, table, 400)
        floor = looks.read()
        assert floor is not None
        found.append(floor)
    assert found[0].excess == pytest.approx(found[1].excess, rel=1e-5)
    assert found[0].excess > 3 * found[0].error > 0


def test_looks_grow_rarer_and_never_more_than_64() -> None:
    table, looks = nn.Embedding(50, 4), WeightLooks(seed=0)
    looks.observe(table)
    looks.observe(table)
    assert len(list(looks.parameters())) == 1
    followed(looks, table, 9_000)
    (known,) = looks._all  # pyright: ignore[reportPrivateUsage]
    steps = [look.step for look in known._looks]  # pyright: ignore[reportPrivateUsage]
    assert 32 <= len(steps) <= 64
    assert len({b - a for a, b in itertools.pairwise(steps)}) == 1
    assert steps[-1] > 9_000 - 2 * (steps[1] - steps[0])


def test_a_look_that_fails_is_the_last_and_a_model_that_is_gone_is_let_go(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, looks = nn.Embedding(50, 4), WeightLooks(seed=0)
    looks.observe(table)
    with monkeypatch.context() as broken:
        broken.setattr("gradtracer.analyzers.weight_looks._gradient_at", None)
        followed(looks, table, 40)
    assert caplog.text.count("stopped looking at the noise of the steps") == 1
    again = WeightLooks(seed=0)
    again.observe(nn.Embedding(50, 4))
    assert list(again.parameters()) == []
    again.before_step(torch.optim.SGD(table.parameters(), lr=0.1))
    assert again.read() is None
