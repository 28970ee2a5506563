"""The next film from the last fifty, by self-attention on MovieLens-100K, as many first write it.

    python examples/sequential.py

PyTorch's own transformer encoder over the films that a user met, in their order; one table both for
the films met and for those to choose from; at each place the next film against one that was drawn
(Kang and McAuley, ICDM 2018). `--lr 0.03` trains worse, and nothing is said of it: a rate
too high that leads to a plateau is not told from one that has arrived.
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

LENGTH = 50


class NextFilm(nn.Module):
    """What a user may choose next is the dot product of a film and what came before."""

    def __init__(self, items: int, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.item_emb = nn.Embedding(items, dim, padding_idx=0)
        self.place_emb = nn.Embedding(LENGTH, dim)
        block = nn.TransformerEncoderLayer(
            dim, nhead=2, dim_feedforward=2 * dim, dropout=dropout, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.item_emb.weight, std=dim**-0.5)
        nn.init.normal_(self.place_emb.weight, std=dim**-0.5)

    def forward(self, films: Tensor) -> Tensor:
        """`[B, 50]` films, padded in front, to `[B, 50, dim]`."""
        x = self.item_emb(films) + self.place_emb(torch.arange(LENGTH))
        later = nn.Transformer.generate_square_subsequent_mask(LENGTH)
        return self.encoder(self.dropout(x), mask=later, is_causal=True)


def pieces(pairs: Tensor, users: int) -> tuple[Tensor, Tensor]:
    """`[P, 51]` stretches of all histories, and `[users, 50]` the last films of each user."""
    counts = torch.bincount(pairs[:, 0], minlength=users).tolist()
    last = torch.zeros(users, LENGTH, dtype=torch.int64)
    cut: list[Tensor] = []
    for user, met in enumerate(pairs[:, 1].split(counts)):
        if len(met):
            last[user, -len(met) :] = met[-LENGTH:]
        for end in range(len(met), 1, -LENGTH):
            piece = met[max(0, end - LENGTH - 1) : end]
            cut.append(F.pad(piece, (LENGTH + 1 - len(piece), 0)))
    return torch.stack(cut), last


def batch_loss(model: NextFilm, batch: Tensor, items: int) -> Tensor:
    """Tell the next film from one drawn uniformly, at each place that has both."""
    met, following = batch[:, :-1], batch[:, 1:]
    real = (met > 0) & (following > 0)
    state, films = model(met)[real], following[real]
    drawn = torch.randint(1, items, films.shape)
    right = (state * model.item_emb(films)).sum(dim=1)
    wrong = (state * model.item_emb(drawn)).sum(dim=1)
    return (F.softplus(-right) + F.softplus(wrong)).mean()


@torch.no_grad()
def evaluate(model: NextFilm, held_out: Tensor, last: Tensor, train: Tensor, k: int = 10) -> float:
    """NDCG@k of the held-out film among all that the user did not meet in training."""
    model.eval()
    users, items = held_out.T
    scores = model(last)[:, -1] @ model.item_emb.weight.T
    model.train()
    scores[train[:, 0], train[:, 1]] = -torch.inf
    scores[:, 0] = -torch.inf
    target = scores[users, items].unsqueeze(1)
    rank = (~(scores[users] < target)).sum(dim=1) - 1
    return ((rank < k) / torch.log2(rank + 2.0)).mean().item()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The next film on MovieLens-100K.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="ml-100k.inter, u.data, or the folder that holds it")
    parser.add_argument("--no-watch", action="store_true", help="train without GradTracer")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    try:
        interactions = movielens.load(args.data)
    except movielens.DataError as error:
        sys.exit(f"sequential: {error}")
    print(f"data: {len(interactions):,} interactions from {interactions.source}")
    split = movielens.leave_one_out(interactions)
    train, test = torch.from_numpy(split.train), torch.from_numpy(split.test)
    validation = torch.from_numpy(split.validation)
    torch.manual_seed(args.seed)
    users, items = int(interactions.users.max()) + 1, int(interactions.items.max()) + 1
    stretches, last = pieces(train, users)

    model = NextFilm(items, args.dim, args.layers, args.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    steps = math.ceil(len(stretches) / args.batch_size)
    run = None
    if not args.no_watch:
        run = gradtracer.watch(model, optimizer=optimizer, total_steps=args.epochs * steps)
    started = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for batch in stretches[torch.randperm(len(stretches))].split(args.batch_size):
            loss = batch_loss(model, batch, items)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        ndcg = evaluate(model, validation, last, train)
        print(
            f"epoch {epoch:3d}  loss {total / steps:.4f}  validation NDCG@10 {ndcg:.4f}", flush=True
        )
        if run is not None:
            run.log(loss=total / steps, validation_ndcg_at_10=ndcg)
    print(f"trained in {time.perf_counter() - started:.1f} s")
    print(f"test NDCG@10 {evaluate(model, test, last, train):.4f}")


if __name__ == "__main__":
    main()
