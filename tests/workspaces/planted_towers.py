"""Two-tower trainings whose truth is known: in-batch softmax over a planted taste space."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

ROWS = 200


class Tower(nn.Module):
    def __init__(self, dim: int, *, sparse: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, dim, sparse=sparse)
        self.hidden, self.out = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.hidden(self.table(ids))))


class TwoTower(nn.Module):
    def __init__(self, dim: int = 16, *, sparse: bool = False) -> None:
        super().__init__()
        self.user_tower, self.item_tower = Tower(dim, sparse=sparse), Tower(dim, sparse=sparse)
        self.detach_user = False

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        u, i = self.user_tower(users), self.item_tower(items)
        return (u.detach() if self.detach_user else u) @ i.T


def steps(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], seed: int, batch: int = 64
) -> Iterator[None]:
    """Each user likes the ten items nearest to it in a hidden space."""
    g = torch.Generator().manual_seed(seed)
    users, items = torch.randn(ROWS, 8, generator=g), torch.randn(ROWS, 8, generator=g)
    liked = (users @ items.T).topk(10, dim=1).indices
    while True:
        ids = torch.randint(ROWS, (batch,), generator=g)
        films = liked[ids, torch.randint(10, (batch,), generator=g)]
        for optimizer in optimizers:
            optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids, films), torch.arange(batch)).backward()
        for optimizer in optimizers:
            optimizer.step()
        yield


Make = Callable[..., torch.optim.Optimizer]


def one_optimizer(model: TwoTower, make: Make, slow: float = 1.0, lr: float = 3e-3) -> list:
    groups = [
        {"params": model.user_tower.parameters(), "lr": lr * slow},
        {"params": model.item_tower.parameters()},
    ]
    return [make(groups, lr=lr)]


def two_optimizers(model: TwoTower, make: Make, slow: float = 1.0, lr: float = 3e-3) -> list:
    return [
        make(model.user_tower.parameters(), lr=lr * slow),
        make(model.item_tower.parameters(), lr=lr),
    ]
