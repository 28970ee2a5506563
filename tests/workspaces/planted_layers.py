"""Trainings of layers whose truth is known: one planted fault each, or none.

A case builds a model, trains it under a tracker and says what should be found: a type and the
layers that may carry it. Data are scikit-learn's digits (1,797 real images of 8 x 8), a smooth
regression of fresh random inputs, and token sequences with a rule; MovieLens stands in the
two-tower case of `planted_towers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from gradtracer_schemas import DiagnosisType

Optimizer = torch.optim.Optimizer


class Training(NamedTuple):
    """A model and the steps of its training, one for each `next`."""

    model: nn.Module
    steps: Iterator[None]


class Case(NamedTuple):
    name: str
    build: Callable[[int], Training]
    """Takes a seed."""
    steps: int
    expected: DiagnosisType | None = None
    layers: frozenset[str] = frozenset()
    """Where it may stand."""
    also: frozenset[DiagnosisType] = frozenset()
    """Types that are true consequences of the fault, neither demanded nor false."""


@lru_cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32) / 16.0, torch.tensor(y)


def classifier(activation: type[nn.Module] = nn.ReLU, depth: int = 3, width: int = 64) -> Any:
    parts: list[nn.Module] = []
    for at in range(depth - 1):
        parts += [nn.Linear(64 if at == 0 else width, width), activation()]
    return nn.Sequential(*parts, nn.Linear(width, 10))


def on_digits(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    seed: int,
    batch: int = 64,
    before: Callable[[int], None] | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    labels: torch.Tensor | None = None,
) -> Iterator[None]:
    x, y = digits()
    y = y if labels is None else labels
    g = torch.Generator().manual_seed(seed)
    step = 0
    while True:
        order = torch.randperm(len(x), generator=g)
        for ids in order[: len(x) // batch * batch].view(-1, batch):
            if before is not None:
                before(step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[ids]), y[ids]).backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            step += 1
            yield


def _seeded(build: Callable[[int], Training]) -> Callable[[int], Training]:
    def seeded(seed: int) -> Training:
        torch.manual_seed(seed)
        return build(seed)

    return seeded


def _dead_relu(seed: int) -> Training:
    model = classifier()
    with torch.no_grad():
        model[2].bias[: 16 + 8 * (seed % 5)] = -50.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Training(model, on_digits(model, optimizer, seed=seed))


def _all_dead(seed: int) -> Training:
    model = classifier()
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Training(model, on_digits(model, optimizer, seed=seed))


def _saturated(activation: type[nn.Module]) -> Callable[[int], Training]:
    """First weights of scale 1, as `nn.init.normal_` gives them."""

    def build(seed: int) -> Training:
        model = classifier(activation)
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        return Training(model, on_digits(model, optimizer, seed=seed))

    return build


class _Unscaled(nn.Module):
    """Pixels as they are stored, 0 to 255, and functions for activations."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.sigmoid(self.body(255.0 * x)))


def _unscaled(seed: int) -> Training:
    model = _Unscaled()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Training(model, on_digits(model, optimizer, seed=seed))


def _lr_of_nothing(seed: int) -> Training:
    model = classifier()
    groups = [
        {"params": model[0].parameters(), "lr": 1e-9},
        {"params": [*model[2].parameters(), *model[4].parameters()]},
    ]
    return Training(model, on_digits(model, torch.optim.Adam(groups, lr=1e-3), seed=seed))


class _Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)).detach())


def _detached(seed: int) -> Training:
    model = _Detached()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return Training(model, on_digits(model, optimizer, seed=seed))


def _lr_too_high(seed: int) -> Training:
    model = classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    return Training(model, on_digits(model, optimizer, seed=seed))


def _lr_jumps(seed: int) -> Training:
    model = classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def jump(step: int) -> None:
        if step == 300:
            optimizer.param_groups[0]["lr"] = 0.3

    return Training(model, on_digits(model, optimizer, seed=seed, before=jump))


def _root_of_zero(seed: int) -> Training:
    model = classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    due = {"step": -1}
    x, y = digits()
    g = torch.Generator().manual_seed(seed)
    at = 90 + 37 * (seed % 7)

    def steps() -> Iterator[None]:
        while True:
            due["step"] += 1
            ids = torch.randint(len(x), (64,), generator=g)
            optimizer.zero_grad()
            h = torch.relu(model[2](torch.relu(model[0](x[ids]))))
            if due["step"] == at:
                h = h + 0.0 * (h - h).sqrt()
            nn.functional.cross_entropy(model[4](h), y[ids]).backward()
            optimizer.step()
            yield

    return Training(model, steps())


def _noise_labels(seed: int) -> Training:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    g = torch.Generator().manual_seed(seed)

    def steps() -> Iterator[None]:
        while True:
            optimizer.zero_grad()
            x, y = torch.randn(32, 16, generator=g), torch.randn(32, 1, generator=g)
            # A loss that is linear in the output has no mean to learn first.
            (model(x) * y).mean().backward()
            optimizer.step()
            yield

    return Training(model, steps())


def _plain(
    activation: type[nn.Module] = nn.ReLU,
    make: Callable[[Any], Optimizer] = lambda p: torch.optim.Adam(p, lr=1e-3),
    depth: int = 3,
) -> Callable[[int], Training]:
    def build(seed: int) -> Training:
        model = classifier(activation, depth)
        return Training(model, on_digits(model, make(model.parameters()), seed=seed))

    return build


def _scheduled(seed: int) -> Training:
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=1_600)
    return Training(model, on_digits(model, optimizer, seed=seed, schedule=schedule))


def _warm_up(seed: int) -> Training:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-3, total_iters=300)
    return Training(model, on_digits(model, optimizer, seed=seed, schedule=schedule))


def _convolutions(seed: int) -> Training:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
            self.two, self.head = nn.Conv2d(16, 32, 3, stride=2), nn.Linear(32 * 9, 10)
            self.drop = nn.Dropout(0.3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.norm(self.one(x.view(-1, 1, 8, 8))))
            return self.head(self.drop(torch.relu(self.two(x)).flatten(1)))

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return Training(model, on_digits(model, optimizer, seed=seed))


def _transformer(seed: int) -> Training:
    """Copies the token of five places before: attention has something to find."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(40, 32), nn.Embedding(24, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(32, 40)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            h = self.words(ids) + self.places(torch.arange(ids.shape[1]))
            return self.head(self.encoder(h))

    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    g = torch.Generator().manual_seed(seed)

    def steps() -> Iterator[None]:
        while True:
            ids = torch.randint(40, (16, 24), generator=g)
            optimizer.zero_grad()
            logits = model(ids)[:, 5:]
            nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, :-5].flatten()).backward()
            optimizer.step()
            yield

    return Training(model, steps())


def _recurrent(seed: int) -> Training:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.head = nn.GRU(8, 48, batch_first=True), nn.Linear(48, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rows(x.view(-1, 8, 8))[0][:, -1])

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return Training(model, on_digits(model, optimizer, seed=seed))


PLANTED: tuple[Case, ...] = tuple(
    case._replace(build=_seeded(case.build))
    for case in (
        Case("dead rectifiers", _dead_relu, 320, "DEAD_NEURONS", frozenset({"2"})),
        Case(
            "a whole layer off",
            _all_dead,
            320,
            "DEAD_NEURONS",
            frozenset({"0"}),
            # The next layer has constant inputs of zero: half of its units are off for good too.
            frozenset({"DEAD_NEURONS", "STAGNATION"}),
        ),
        Case("learning rate 1e-9", _lr_of_nothing, 320, "STAGNATION", frozenset({"0"})),
        Case("detached output", _detached, 320, "STAGNATION", frozenset({"body"})),
        Case(
            "Adam at lr 1.0",
            _lr_too_high,
            320,
            "EXPLODING_UPDATES",
            frozenset({"0", "2", "4"}),
            frozenset({"DEAD_NEURONS", "STAGNATION"}),
        ),
        Case(
            "learning rate x 300",
            _lr_jumps,
            640,
            "EXPLODING_UPDATES",
            frozenset({"0", "2", "4"}),
            frozenset({"DEAD_NEURONS", "STAGNATION"}),
        ),
        Case(
            "twelve sigmoid layers, SGD",
            _plain(nn.Sigmoid, lambda p: torch.optim.SGD(p, lr=0.1), depth=12),
            320,
            "VANISHING_GRADIENTS",
            frozenset({"0"}),
        ),
        Case(
            "tanh, first weights of 1",
            _saturated(nn.Tanh),
            320,
            "SATURATED_ACTIVATIONS",
            frozenset({"0", "2"}),
        ),
        Case(
            "hard tanh, first weights of 1",
            _saturated(nn.Hardtanh),
            320,
            "SATURATED_ACTIVATIONS",
            frozenset({"0", "2"}),
        ),
        Case("sigmoid on raw pixels", _unscaled, 320, "SATURATED_ACTIVATIONS", frozenset({"body"})),
        Case("root of zero", _root_of_zero, 400, "NON_FINITE", frozenset({"2"})),
        Case("labels are noise", _noise_labels, 640, "LOW_GRADIENT_SNR", frozenset({"2"})),
    )
)

HEALTHY: tuple[Case, ...] = tuple(
    case._replace(build=_seeded(case.build))
    for case in (
        Case("MLP, Adam", _plain(), 640),
        Case("MLP, SGD", _plain(make=lambda p: torch.optim.SGD(p, lr=0.1)), 640),
        Case("MLP, converged", _plain(), 3_200),
        Case("MLP, tanh", _plain(nn.Tanh), 640),
        Case("MLP, tanh, converged", _plain(nn.Tanh), 3_200),
        Case("MLP, sigmoid", _plain(nn.Sigmoid), 640),
        Case("MLP, hard tanh", _plain(nn.Hardtanh), 640),
        Case("MLP, GELU, 6 layers", _plain(nn.GELU, depth=6), 640),
        Case("12 tanh layers, SGD", _plain(nn.Tanh, lambda p: torch.optim.SGD(p, lr=0.1), 12), 480),
        Case("MLP, one cycle to zero", _scheduled, 1_600),
        Case("MLP, warm-up, momentum", _warm_up, 640),
        Case("convolutions, norm, dropout", _convolutions, 320),
        Case("transformer", _transformer, 320),
        Case("GRU", _recurrent, 480),
    )
)
