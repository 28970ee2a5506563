"""The four models: each draws its batches, computes its loss, and scores every film for every user.

All randomness of batches and negatives comes from the generator that is passed in, so that two arms
with one seed see the same examples in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from validation.films import Films
from validation.plans import Plan


class Recommender(nn.Module):
    """What the training loop needs of a model."""

    usual_batch: int

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.batch = plan.batch or self.usual_batch
        self.std = plan.std

    def table(self, rows: int, dim: int) -> nn.Embedding:
        made = nn.Embedding(rows, dim, padding_idx=0)
        nn.init.normal_(made.weight, std=self.std)
        with torch.no_grad():
            made.weight[0] = 0
        return made

    def examples(self) -> Tensor:
        """What an epoch goes through once."""
        raise NotImplementedError

    def batches(self, g: torch.Generator) -> Iterator[Tensor]:
        """An epoch's, in an order drawn from `g`."""
        examples = self.examples()
        yield from examples[torch.randperm(len(examples), generator=g)].split(self.batch)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return math.ceil(len(self.examples()) / self.batch)

    def loss(self, batch: Tensor, g: torch.Generator) -> Tensor:
        raise NotImplementedError

    def score_all(self) -> Tensor:
        """`[users, items]`."""
        raise NotImplementedError


class Factorization(Recommender):
    """Dot product of two embeddings; binary cross-entropy with two negatives for each film."""

    negatives = 2
    usual_batch = 2_048

    def __init__(self, films: Films, plan: Plan) -> None:
        super().__init__(plan)
        dim = plan.dim
        self.pairs, self.num_items = films.train, films.num_items
        self.user_emb = self.table(films.num_users, dim)
        self.item_emb = self.table(films.num_items, dim)

    def examples(self) -> Tensor:
        return self.pairs

    def logits(self, batch: Tensor, g: torch.Generator) -> Tensor:
        """`[b, 1 + negatives]`, the film that was met first."""
        users, films = batch.unbind(1)
        drawn = torch.randint(1, self.num_items, (len(users), self.negatives), generator=g)
        items = self.item_emb(torch.cat([films.unsqueeze(1), drawn], dim=1))
        return (items * self.user_emb(users).unsqueeze(1)).sum(dim=2)

    def loss(self, batch: Tensor, g: torch.Generator) -> Tensor:
        logits = self.logits(batch, g)
        labels = torch.zeros_like(logits)
        labels[:, 0] = 1.0
        return F.binary_cross_entropy_with_logits(logits, labels)

    def score_all(self) -> Tensor:
        return self.user_emb.weight @ self.item_emb.weight.T


class RankedFactorization(Factorization):
    """The same by Bayesian personalised ranking (Rendle et al., UAI 2009), one negative."""

    negatives = 1

    def loss(self, batch: Tensor, g: torch.Generator) -> Tensor:
        met, drawn = self.logits(batch, g).unbind(1)
        return F.softplus(drawn - met).mean()


class TwoTower(Recommender):
    """A user's id and 20 films met before against a film; softmax in the batch less log Q."""

    history = 20
    usual_batch = 512
    temperature = 0.1

    def __init__(self, films: Films, plan: Plan) -> None:
        super().__init__(plan)
        dim = plan.dim
        self.pairs, self.num_items = films.train, films.num_items
        self.user_emb = self.table(films.num_users, dim)
        self.item_emb = self.table(films.num_items, dim)
        self.history_emb = self.table(films.num_items, dim)
        self.user_mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.item_mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        users, items = films.train.unbind(1)
        self.counts = torch.bincount(users, minlength=films.num_users)
        self.starts = self.counts.cumsum(0) - self.counts
        frequency = torch.bincount(items, minlength=films.num_items).clamp_min(1) / len(items)
        self.log_q = frequency.log()

    def examples(self) -> Tensor:
        return self.pairs

    def users(self, ids: Tensor, met: Tensor) -> Tensor:
        known = (met > 0).sum(dim=1, keepdim=True).clamp_min(1)
        x = self.user_emb(ids) + self.history_emb(met).sum(dim=1) / known
        return F.normalize(x + self.user_mlp(x), dim=1)

    def items(self, ids: Tensor) -> Tensor:
        x = self.item_emb(ids)
        return F.normalize(x + self.item_mlp(x), dim=1)

    def loss(self, batch: Tensor, g: torch.Generator) -> Tensor:
        users, films = batch.unbind(1)
        drawn = torch.rand(len(users), self.history, generator=g)
        at = self.starts[users, None] + (drawn * self.counts[users, None]).long()
        met = self.pairs[at, 1]
        met = met.masked_fill(met == films[:, None], 0)
        logits = self.users(users, met) @ self.items(films).T / self.temperature
        logits = logits - self.log_q[films]
        same = films[:, None] == films[None, :]
        same.fill_diagonal_(False)
        return F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(films)))

    def score_all(self) -> Tensor:
        """From each user's last films."""
        back = torch.arange(1, self.history + 1)
        at = (self.starts + self.counts)[:, None] - back
        met = self.pairs[at.clamp_min(0), 1].masked_fill(back > self.counts[:, None], 0)
        ids = torch.arange(len(self.counts))
        return self.users(ids, met) @ self.items(torch.arange(self.num_items)).T


class Sequential(Recommender):
    """The next film from the last 50 by causal self-attention (Kang and McAuley, ICDM 2018).

    One block, one head, binary cross-entropy with one negative at each place. Long histories are
    cut into pieces of 50, so that an epoch sees every film once.
    """

    length = 50
    usual_batch = 128

    def __init__(self, films: Films, plan: Plan) -> None:
        super().__init__(plan)
        dim = plan.dim
        self.num_items = films.num_items
        self.item_emb = self.table(films.num_items, dim)
        self.place_emb = nn.Embedding(self.length, dim)
        nn.init.normal_(self.place_emb.weight, std=self.std)
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(dim) for _ in range(3))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.wide, self.narrow = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(0.2)
        self.pieces, self.last = self._pieces(films)

    def _pieces(self, films: Films) -> tuple[Tensor, Tensor]:
        """`[p, length + 1]` pieces padded at the front, and `[users, length]` each user's last."""
        users, items = films.train.unbind(1)
        counts = torch.bincount(users, minlength=films.num_users).tolist()
        pieces: list[Tensor] = []
        last = torch.zeros(films.num_users, self.length, dtype=torch.int64)
        for user, met in enumerate(items.split(counts)):
            if len(met):
                last[user, -len(met) :] = met[-self.length :]
            for end in range(len(met), 1, -self.length):
                piece = met[max(0, end - self.length - 1) : end]
                pieces.append(F.pad(piece, (self.length + 1 - len(piece), 0)))
        return torch.stack(pieces), last

    def examples(self) -> Tensor:
        return self.pieces

    def states(self, items: Tensor) -> Tensor:
        """`[b, length, dim]`."""
        dim = self.item_emb.embedding_dim
        x = self.item_emb(items) * dim**0.5 + self.place_emb(torch.arange(self.length))
        x = self.dropout(x) * (items > 0).unsqueeze(2)
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, dim=2)
        x = x + self.dropout(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        y = self.narrow(self.dropout(F.relu(self.wide(self.norm_2(x)))))
        return self.norm_3(x + self.dropout(y))

    def loss(self, batch: Tensor, g: torch.Generator) -> Tensor:
        following = batch[:, 1:]
        states = self.states(batch[:, :-1])
        drawn = torch.randint(1, self.num_items, following.shape, generator=g)
        real = (batch[:, :-1] > 0) & (following > 0)
        states, following, drawn = states[real], following[real], drawn[real]
        met = (states * self.item_emb(following)).sum(dim=1)
        other = (states * self.item_emb(drawn)).sum(dim=1)
        return (F.softplus(-met) + F.softplus(other)).mean()

    def score_all(self) -> Tensor:
        return self.states(self.last)[:, -1] @ self.item_emb.weight.T


MODELS: dict[str, type[Recommender]] = {
    "mf-bce": Factorization,
    "mf-bpr": RankedFactorization,
    "two-tower": TwoTower,
    "sasrec": Sequential,
}
