"""Three recommenders on MovieLens-100K, tuned, for what is measured on trained models.

Matrix factorisation, two towers with an in-batch softmax, and a transformer over each user's
sequence (SASRec, Kang and McAuley 2018). Each user's films are split by time: the first 60 % train,
the next 20 % validate, the last 20 % test. All unseen films are ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import movielens
from gradtracer.compression import smooth_ndcg

LENGTH = 50
"""Films of a user's past that the sequence model and the user tower see."""


class Task(NamedTuple):
    """A data set, split by time within each user, as tensors. Id 0 pads."""

    source: str
    users: int
    items: int
    train: Tensor
    """`[n, 2]` user and film, in the order of time within each user."""
    seen: Tensor
    """`[users, items]` bool: met in training."""
    validation: Tensor
    """`[users, items]` bool."""
    test: Tensor
    """`[users, items]` bool."""
    history: Tensor
    """`[users, LENGTH]` the last films of training, oldest first, padded in front."""
    later_history: Tensor
    """The same of training and validation: what is known when the test begins."""


def load_task(source: str | None = None) -> Task:
    """Read MovieLens-100K and split it."""
    data = movielens.load(source)
    users, items = int(data.users.max()) + 1, int(data.items.max()) + 1
    order = np.lexsort((data.items, data.timestamps, data.users))
    pairs = torch.from_numpy(np.stack([data.users, data.items], axis=1)[order])
    count = torch.bincount(pairs[:, 0], minlength=users)
    start = count.cumsum(0) - count
    share = (torch.arange(len(pairs)) - start[pairs[:, 0]]) / count[pairs[:, 0]]
    parts = [pairs[share < 0.6], pairs[(share >= 0.6) & (share < 0.8)], pairs[share >= 0.8]]
    masks = []
    for part in parts:
        mask = torch.zeros(users, items, dtype=torch.bool)
        mask[part[:, 0], part[:, 1]] = True
        masks.append(mask)
    earlier = pairs[share < 0.8]
    return Task(
        data.source,
        users,
        items,
        parts[0],
        masks[0],
        masks[1],
        masks[2],
        _tails(parts[0], users),
        _tails(earlier, users),
    )


def _tails(pairs: Tensor, users: int) -> Tensor:
    tails = torch.zeros(users, LENGTH, dtype=torch.int64)
    for user, films in enumerate(by_user(pairs, users)):
        if len(films):
            tails[user, -len(films[-LENGTH:]) :] = films[-LENGTH:]
    return tails


def by_user(pairs: Tensor, users: int) -> list[Tensor]:
    """Films of each user, in order."""
    sizes = torch.bincount(pairs[:, 0], minlength=users).tolist()
    return list(pairs[:, 1].split(sizes))


def scores_of(x: Tensor, table: Any) -> Tensor:
    """x Wᵀ, by a packed table's own method where it is one."""
    scores = getattr(table, "scores", None)
    return scores(x) if scores is not None else x @ table.weight.T


class MatrixFactorization(nn.Module):
    """The score is the dot product of a user's and a film's embedding."""

    def __init__(self, task: Task, dim: int) -> None:
        super().__init__()
        self.user_emb = nn.Embedding(task.users, dim, padding_idx=0)
        self.item_emb = nn.Embedding(task.items, dim, padding_idx=0)
        nn.init.normal_(self.user_emb.weight, std=0.1)
        nn.init.normal_(self.item_emb.weight, std=0.1)

    def loss(self, task: Task, pairs: Tensor, negatives: int = 4) -> Tensor:
        """Tell each film that was met from others drawn uniformly."""
        films = torch.randint(1, task.items, (len(pairs), negatives))
        films = torch.cat([pairs[:, 1:], films], dim=1)
        users = self.user_emb(pairs[:, :1])
        logits = (users * self.item_emb(films)).sum(-1)
        labels = torch.zeros_like(logits)
        labels[:, 0] = 1
        return F.binary_cross_entropy_with_logits(logits, labels)

    def score_all(self, task: Task) -> Tensor:
        """`[users, items]`."""
        return scores_of(self.user_emb(torch.arange(task.users)), self.item_emb)


class Tower(nn.Module):
    """A network over an embedding, added to it, to a vector of length one."""

    def __init__(self, rows: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, dim, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(2 * dim, dim)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, ids: Tensor, history: Tensor | None = None) -> Tensor:
        x = self.table(ids)
        if history is not None:
            x = x + history
        x = self.dropout(x)
        return F.normalize(x + self.out(F.gelu(self.hidden(x))), dim=-1)


class TwoTower(nn.Module):
    """The score is the cosine of a user's and a film's vector over a temperature."""

    def __init__(
        self, task: Task, dim: int, temperature: float = 0.1, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.user_tower = Tower(task.users, dim, dropout)
        self.item_tower = Tower(task.items, dim, dropout)
        self.history = nn.EmbeddingBag(task.items, dim, mode="mean", padding_idx=0)
        nn.init.normal_(self.history.weight, std=0.1)
        self.temperature = temperature
        frequency = torch.bincount(task.train[:, 1], minlength=task.items).clamp_min(1)
        self.log_q = (frequency / len(task.train)).log()

    def loss(self, task: Task, pairs: Tensor) -> Tensor:
        """Find the film among those of the batch, less how often each is there by chance."""
        users, films = pairs.T
        past = task.history[users]
        past = past.masked_fill(past == films[:, None], 0)
        past = past.masked_fill(torch.rand(past.shape) < 0.5, 0)
        logits = self.user_tower(users, self.history(past)) @ self.item_tower(films).T
        logits = logits / self.temperature - self.log_q[films]
        same = films[:, None] == films[None, :]
        same.fill_diagonal_(False)
        return F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(films)))

    def score_all(self, task: Task) -> Tensor:
        """`[users, items]`."""
        users = self.user_tower(torch.arange(task.users), self.history(task.history))
        return users @ self.item_tower(torch.arange(task.items)).T


class Block(nn.Module):
    """Causal self-attention and a network, each after a normalisation and added to its input."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value, self.mix = (nn.Linear(dim, dim) for _ in range(4))
        self.hidden, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        y = self.before(x)
        attention = self.query(y) @ self.key(y).transpose(-1, -2) / math.sqrt(x.shape[-1])
        attention = attention.masked_fill(~allowed, -1e9).softmax(-1)
        x = x + self.dropout(self.mix(attention @ self.value(y)))
        return x + self.dropout(self.out(F.relu(self.hidden(self.between(x)))))


class Sequential(nn.Module):
    """The next film from those before it; films are looked up and scored by one table."""

    def __init__(self, task: Task, dim: int, blocks: int = 2, dropout: float = 0.3) -> None:
        super().__init__()
        self.item_emb = nn.Embedding(task.items, dim, padding_idx=0)
        self.position = nn.Embedding(LENGTH, dim)
        self.blocks = nn.ModuleList(Block(dim, dropout) for _ in range(blocks))
        self.last = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        for table in (self.item_emb, self.position):
            nn.init.normal_(table.weight, std=0.05)

    def encode(self, history: Tensor) -> Tensor:
        """`[n, LENGTH]` films to what each position expects next, `[n, LENGTH, dim]`."""
        x = self.item_emb(history) * math.sqrt(self.last.normalized_shape[0])
        x = self.dropout(x + self.position(torch.arange(history.shape[1])))
        causal = torch.ones(history.shape[1], history.shape[1], dtype=torch.bool).tril()
        allowed = causal & (history != 0)[:, None, :]
        for block in self.blocks:
            x = block(x, allowed)
        return self.last(x)

    def loss(self, task: Task, sequences: Tensor) -> Tensor:
        """Cross-entropy of the next film among all, at every position."""
        past, following = sequences[:, :-1], sequences[:, 1:]
        found = following != 0
        x = self.encode(past)[found]
        return F.cross_entropy(scores_of(x, self.item_emb), following[found])

    def score_all(self, task: Task) -> Tensor:
        """`[users, items]`."""
        return scores_of(self.encode(task.history)[:, -1], self.item_emb)


@torch.no_grad()
def ndcg(model: Any, task: Task, held_out: Tensor, hidden: Tensor, k: int = 10) -> Tensor:
    """NDCG@k of each user who has a film held out, `[n]`; `hidden` films are not ranked."""
    training = model.training
    model.eval()
    scores = model.score_all(task).masked_fill(hidden, -torch.inf)
    model.train(training)
    scores[:, 0] = -torch.inf
    users = held_out.any(dim=1)
    top = scores[users].topk(k).indices
    discount = 1 / torch.log2(torch.arange(k) + 2.0)
    gained = (held_out[users].gather(1, top) * discount).sum(1)
    count = held_out[users].sum(1)
    best = (torch.arange(k) < count[:, None]).float() @ discount
    return gained / best


def validate(model: nn.Module, task: Task) -> Tensor:
    """NDCG@10 of each user on validation."""
    return ndcg(model, task, task.validation, task.seen)


def test(model: nn.Module, task: Task) -> Tensor:
    """NDCG@10 of each user on test; films of the validation are known, and not ranked."""
    task = task._replace(history=task.later_history)
    return ndcg(model, task, task.test, task.seen | task.validation)


def ranking_loss(model: Any, task: Task) -> Tensor:
    """Validation's NDCG@10 as a smooth function of the scores, its sign turned."""
    scores = model.score_all(task).masked_fill(task.seen, -torch.inf)
    scores = torch.cat([torch.full_like(scores[:, :1], -torch.inf), scores[:, 1:]], dim=1)
    users = task.validation.any(dim=1)
    return -smooth_ndcg(scores[users], task.validation[users]).mean()


def held_out_loss(model: Any, task: Task) -> Tensor:
    """Cross-entropy of the films of the validation among all that were not met in training.

    What NDCG is bounded by (Bruch et al., ICTIR 2019), and smooth. Cosines are taken over the
    temperature that they were trained with: as they are, they say next to nothing.
    """
    scores = model.score_all(task) / getattr(model, "temperature", 1.0)
    scores = scores.masked_fill(task.seen, -torch.inf)
    scores = torch.cat([torch.full_like(scores[:, :1], -torch.inf), scores[:, 1:]], dim=1)
    users = task.validation.any(dim=1)
    found = task.validation[users]
    of_each = scores[users].log_softmax(1).masked_fill(~found, 0.0).sum(1) / found.sum(1)
    return -of_each.mean()


def batches(model: nn.Module, task: Task, size: int) -> list[Tensor]:
    """One epoch, shuffled: pairs, or whole sequences for the sequence model."""
    if isinstance(model, Sequential):
        rows = []
        for films in by_user(task.train, task.users):
            for end in range(len(films), 1, -LENGTH):
                part = films[max(0, end - LENGTH - 1) : end]
                rows.append(F.pad(part, (LENGTH + 1 - len(part), 0)))
        examples = torch.stack(rows)
    else:
        examples = task.train
    return list(examples[torch.randperm(len(examples))].split(size))


class Setting(NamedTuple):
    """How a model is built and trained."""

    build: partial[nn.Module]
    lr: float
    decay: float
    batch: int
    epochs: int


def train(
    setting: Setting,
    task: Task,
    seed: int,
    after_epoch: Callable[[nn.Module], None] = lambda model: None,
) -> nn.Module:
    """Train for the setting's epochs: validation has no say in what is trained."""
    torch.manual_seed(seed)
    model = setting.build(task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=setting.lr, weight_decay=setting.decay)
    for _ in range(setting.epochs):
        train_epoch(model, task, optimizer, setting.batch)
        after_epoch(model)
    return model.eval()


def best_epoch(setting: Setting, task: Task, seeds: Iterable[int]) -> tuple[int, float]:
    """The number of epochs whose validation NDCG@10 is best on the mean of `seeds`, and that."""
    curves: list[list[float]] = []
    for seed in seeds:
        curve: list[float] = []
        train(setting, task, seed, lambda m, c=curve: c.append(float(validate(m, task).mean())))
        curves.append(curve)
    mean = np.mean(curves, axis=0)
    return int(mean.argmax()) + 1, float(mean.max())


def trained(name: str, task: Task, seed: int, cache: Path) -> nn.Module:
    """The tuned model of a seed, from the cache where it is there."""
    path = cache / f"{name}_{seed}.pt"
    if path.exists():
        model = TUNED[name].build(task)
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    model = train(TUNED[name], task, seed)
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return model


def train_epoch(model: Any, task: Task, optimizer: torch.optim.Optimizer, batch: int) -> None:
    """Go through the training part once."""
    model.train()
    for examples in batches(model, task, batch):
        loss = model.loss(task, examples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


TUNED = {
    "mf": Setting(partial(MatrixFactorization, dim=256), 3e-3, 0.3, 1024, 84),
    "two-tower": Setting(
        partial(TwoTower, dim=64, temperature=0.2, dropout=0.3), 2e-3, 0.1, 1024, 34
    ),
    "sequential": Setting(partial(Sequential, dim=64, blocks=1, dropout=0.5), 4e-3, 0.1, 64, 8),
}
"""Best on validation, by the mean of three seeds, of those that `validate_compression.py --tune`
tries."""
