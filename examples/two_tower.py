"""Two towers with an in-batch softmax on MovieLens-100K: a user's history finds the next film.

    python examples/two_tower.py

The user tower averages the embeddings of up to 50 films that the user met before and adds the
user's own; the item tower looks up the film; a small network ends each. Every other film of the
batch is a negative, less the logarithm of how often it would be one by chance (Yi et al., RecSys
2019). `--slow-user 1e-4` gives the user tower that share of the learning rate: a fault to look at.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradtracer
import movielens

HISTORY = 50


class Tower(nn.Module):
    """A network over the embedding of a user or a film, to a vector of length one."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, dim, padding_idx=0)
        self.hidden = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(2 * dim, dim)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, ids: Tensor, history: Tensor | None = None) -> Tensor:
        x = self.table(ids)
        if history is not None:
            x = x + history
        return F.normalize(x + self.out(F.gelu(self.hidden(x))), dim=-1)


class TwoTower(nn.Module):
    """The score of a user and a film is the cosine of their vectors over a temperature."""

    def __init__(self, users: int, items: int, dim: int, temperature: float) -> None:
        super().__init__()
        self.user_tower = Tower(users, dim)
        self.item_tower = Tower(items, dim)
        self.history = nn.EmbeddingBag(items, dim, mode="mean", padding_idx=0)
        nn.init.normal_(self.history.weight, std=0.1)
        self.temperature = temperature

    def users(self, ids: Tensor, seen: Tensor) -> Tensor:
        return self.user_tower(ids, self.history(seen))

    def forward(self, ids: Tensor, seen: Tensor, items: Tensor) -> Tensor:
        return self.users(ids, seen) @ self.item_tower(items).T / self.temperature


def histories(pairs: Tensor, users: int) -> list[Tensor]:
    """Films of each user in the order of the training pairs."""
    met: list[list[int]] = [[] for _ in range(users)]
    for user, item in pairs.tolist():
        met[user].append(item)
    return [torch.tensor(items, dtype=torch.int64) for items in met]


def sampled(met: list[Tensor], users: Tensor, items: Tensor | None, g: torch.Generator) -> Tensor:
    """`[B, 50]` films of each user, drawn with replacement, the one to be found left out."""
    rows = torch.zeros(len(users), HISTORY, dtype=torch.int64)
    for at, user in enumerate(users.tolist()):
        films = met[user]
        if items is not None:
            films = films[films != items[at]]
        if len(films):
            rows[at] = films[torch.randint(len(films), (HISTORY,), generator=g)]
    return rows


@torch.no_grad()
def evaluate(model: TwoTower, held_out: Tensor, met: list[Tensor], k: int = 10) -> float:
    """NDCG@k of the held-out film among all that the user did not meet in training."""
    users, items = held_out.T
    g = torch.Generator().manual_seed(0)
    catalogue = torch.arange(model.item_tower.table.num_embeddings)
    scores = model(users, sampled(met, users, None, g), catalogue)
    for at, user in enumerate(users.tolist()):
        scores[at, met[user]] = -torch.inf
    scores[:, 0] = -torch.inf
    target = scores[torch.arange(len(users)), items].unsqueeze(1)
    rank = (~(scores < target)).sum(dim=1) - 1
    return ((rank < k) / torch.log2(rank + 2.0)).mean().item()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Two towers on MovieLens-100K.")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--slow-user", type=float, default=1.0, help="share of the learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="ml-100k.inter, u.data, or the folder that holds it")
    parser.add_argument("--no-watch", action="store_true", help="train without GradTracer")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    try:
        interactions = movielens.load(args.data)
    except movielens.DataError as error:
        sys.exit(f"two_tower: {error}")
    print(f"data: {len(interactions):,} interactions from {interactions.source}")
    split = movielens.leave_one_out(interactions)
    train, test = torch.from_numpy(split.train), torch.from_numpy(split.test)
    torch.manual_seed(args.seed)
    g = torch.Generator().manual_seed(args.seed)
    users, items = int(interactions.users.max()) + 1, int(interactions.items.max()) + 1
    met = histories(train, users)
    frequency = torch.bincount(train[:, 1], minlength=items).clamp_min(1) / len(train)
    log_q = frequency.log()

    model = TwoTower(users, items, args.dim, args.temperature)
    slow = [*model.user_tower.parameters(), *model.history.parameters()]
    groups = [
        {"params": slow, "lr": args.lr * args.slow_user},
        {"params": model.item_tower.parameters()},
    ]
    optimizer = torch.optim.Adam(groups, lr=args.lr)
    steps = math.ceil(len(train) / args.batch_size)
    run = None
    if not args.no_watch:
        run = gradtracer.watch(
            model,
            optimizer=optimizer,
            total_steps=args.epochs * steps,
            towers={"user": ["user_tower", "history"], "item": ["item_tower"]},
        )
    started = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for pairs in train[torch.randperm(len(train), generator=g)].split(args.batch_size):
            ids, films = pairs.T
            logits = model(ids, sampled(met, ids, films, g), films) - log_q[films]
            # another example of the same film is no negative
            same = films[:, None] == films[None, :]
            same.fill_diagonal_(False)
            loss = F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(films)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        ndcg = evaluate(model, test, met)
        print(f"epoch {epoch:3d}  loss {total / steps:.4f}  test NDCG@10 {ndcg:.4f}", flush=True)
        if run is not None:
            run.log(loss=total / steps, ndcg_at_10=ndcg)
    print(f"trained in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
