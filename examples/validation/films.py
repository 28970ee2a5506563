"""MovieLens-100K as tensors, with label noise where a setting asks for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import movielens


@dataclass(frozen=True)
class Films:
    """Leave-one-out; ids start at 1, row 0 pads."""

    train: Tensor
    """`[n, 2]` user and item, by user and then by time."""
    users: Tensor
    """`[u]` users that have something held out."""
    validation: Tensor
    """`[u]` second-last item of each."""
    test: Tensor
    """`[u]` last item of each."""
    num_users: int
    num_items: int
    source: str

    def with_noise(self, share: float, g: torch.Generator) -> Films:
        """The same with that share of the training items replaced by films drawn uniformly.

        Nobody's held-out film is drawn for them: it would be masked in the evaluation.
        """
        if share == 0:
            return self
        n = len(self.train)
        at = torch.randperm(n, generator=g)[: round(share * n)]
        drawn = torch.randint(1, self.num_items, (len(at),), generator=g)
        users = self.train[at, 0]
        held_out = torch.zeros(2, self.num_users, dtype=torch.int64)
        held_out[:, self.users] = torch.stack([self.validation, self.test])
        free = (drawn != held_out[:, users]).all(dim=0)
        train = self.train.clone()
        train[at[free], 1] = drawn[free]
        return Films(
            train,
            self.users,
            self.validation,
            self.test,
            self.num_users,
            self.num_items,
            self.source,
        )


def load(path: str | None = None) -> Films:
    """MovieLens-100K from where the examples look for it. Raises movielens.DataError."""
    return split(movielens.load(path))


def tiny() -> Films:
    """A generated set for a check of the machinery: no figure of it means anything."""
    return split(movielens.generate(users=50, items=80, interactions=1_500))


def split(interactions: movielens.Interactions) -> Films:
    """Leave one out, twice."""
    parts = movielens.leave_one_out(interactions)
    return Films(
        torch.from_numpy(parts.train),
        torch.from_numpy(parts.test[:, 0]),
        torch.from_numpy(parts.validation[:, 1]),
        torch.from_numpy(parts.test[:, 1]),
        int(interactions.users.max()) + 1,
        int(interactions.items.max()) + 1,
        interactions.source,
    )
