"""One training: same seed, same initialisation, batches and negatives, whatever watches it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from validation.films import Films
from validation.models import MODELS, Recommender
from validation.plans import Plan

K = 10


class Watcher(Protocol):
    """What an arm puts beside the training."""

    def stepped(self, loss: Tensor) -> None:
        """An optimizer step is done; the loss of its batch."""

    def epoch_ended(self, ndcg: float) -> None:
        """An epoch is done; its validation NDCG@10."""


class Averaging(Protocol):
    """A second copy of the tables, which a training does not see."""

    def serve(self) -> None:
        """Put it into the model."""

    def resume(self) -> None:
        """Put the trained weights back."""


class Kept(NamedTuple):
    """What would be served."""

    validation: float
    """Validation NDCG@10."""
    ranks: list[int]
    """0-based rank of each user's test film, `K` for all that are lower."""
    epoch: int


class Outcome(NamedTuple):
    """The trained weights, and their average where one was kept."""

    trained: Kept
    averaged: Kept | None
    seconds: float


def train(
    plan: Plan,
    films: Films,
    seed: int,
    *,
    watch: Callable[[Recommender, torch.optim.Optimizer, Plan], Watcher] | None = None,
    average: Callable[[Recommender], Averaging] | None = None,
) -> Outcome:
    """Train and evaluate `plan`."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    films = films.with_noise(plan.noise, torch.Generator().manual_seed(seed))
    model = MODELS[plan.model](films, plan)
    built = getattr(torch.optim, plan.optimizer)
    optimizer = built(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay, fused=True)
    watcher = None if watch is None else watch(model, optimizer, plan)
    averaging = None if average is None else average(model)
    trained = averaged = None
    for epoch in range(1, plan.epochs + 1):
        _epoch(model, optimizer, g, watcher)
        now, trained = _evaluate(model, films, epoch, trained, plan.patience)
        if averaging is not None:
            averaging.serve()
            _, averaged = _evaluate(model, films, epoch, averaged, plan.patience)
            averaging.resume()
        if watcher is not None:
            watcher.epoch_ended(now)
        if plan.patience and epoch - trained.epoch >= plan.patience:
            break
    assert trained is not None
    return Outcome(trained, averaged, time.perf_counter() - started)


def _epoch(
    model: Recommender,
    optimizer: torch.optim.Optimizer,
    g: torch.Generator,
    watcher: Watcher | None,
) -> None:
    model.train()
    for batch in model.batches(g):
        loss = model.loss(batch, g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if watcher is not None:
            watcher.stepped(loss.detach())


@torch.no_grad()
def _evaluate(
    model: Recommender, films: Films, epoch: int, before: Kept | None, patience: int
) -> tuple[float, Kept]:
    """Validation NDCG@10 now, and what is kept: the best, or the last without patience.

    The held-out films are ranked among all that the user did not meet in training.
    """
    model.eval()
    scores = model.score_all()
    scores[films.train[:, 0], films.train[:, 1]] = -torch.inf
    scores[:, 0] = -torch.inf  # the padding row is no film
    scores = scores[films.users]
    validation = ndcg(_ranks(scores, films.validation))
    if before is not None and patience and validation <= before.validation:
        return validation, before
    return validation, Kept(validation, _ranks(scores, films.test).tolist(), epoch)


def _ranks(scores: Tensor, items: Tensor) -> Tensor:
    target = scores.gather(1, items.unsqueeze(1))
    # What is not lower stands ahead, so that ties and NaN never flatter the model.
    return (torch.count_nonzero(~(scores < target), dim=1) - 1).clamp_max(K)


def ndcg(ranks: Tensor) -> float:
    """Mean NDCG@10 of one held-out film each."""
    return ((ranks < K) / torch.log2(ranks + 2.0)).mean().item()
