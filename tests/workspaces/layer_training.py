"""Small models of layers and the loops that train them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from gradtracer.analyzers.flow import FlowTracker
from gradtracer_schemas import DiagnosisType

Losses = Callable[[int], torch.Tensor]


def mlp(depth: int = 3, width: int = 32, inputs: int = 16, outputs: int = 1) -> nn.Sequential:
    parts: list[nn.Module] = []
    for at in range(depth - 1):
        parts += [nn.Linear(inputs if at == 0 else width, width), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(width, outputs))


def regression(model: nn.Module, *, batch: int = 32, seed: int = 0, inputs: int = 16) -> Losses:
    """Mean squared error to a fixed random map of fresh inputs."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(inputs, 1, generator=generator)

    def loss(_step: int) -> torch.Tensor:
        x = torch.randn(batch, inputs, generator=generator)
        return (model(x) - torch.tanh(x @ truth)).square().mean()

    return loss


def train(
    optimizer: torch.optim.Optimizer,
    losses: Losses,
    steps: int,
    after: Callable[[int], None] | None = None,
) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        losses(step).backward()
        optimizer.step()
        if after is not None:
            after(step)


def said(tracker: FlowTracker) -> dict[str, set[DiagnosisType]]:
    """Types by layer, as the tests say now."""
    return {layer: {f.type for f in found} for layer, found in tracker.findings().items()}
