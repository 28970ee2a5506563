"""A training whose gradients are planted: some rows are pulled to and fro, the others by noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def alternate(
    table: nn.Embedding,
    steps: int,
    *,
    bad: int,
    optimizer: torch.optim.Optimizer | None = None,
    after: Callable[[int], object] = lambda _: None,
) -> None:
    """Rows below `bad` get a gradient that turns around at every step; the others noise."""
    optimizer = optimizer or torch.optim.SGD(table.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(table.weight.shape, generator=generator)
    for number in range(steps):
        gradient = torch.randn(table.weight.shape, generator=generator)
        gradient[:bad] = direction[:bad] * (-1) ** number
        optimizer.zero_grad()
        (table(torch.arange(table.num_embeddings)) * gradient).sum().backward()
        optimizer.step()
        after(number)
