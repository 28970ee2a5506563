"""Tables with planted zombie rows, trained by real optimizers under an `EmbeddingTracker`.

The task: a row w_i is looked up together with one of 64 fixed unit contexts c_j and must predict a
label, y = t_i . c_j + noise, by squared error. Planted rows differ in their labels or step size:

contradictory  labels of the same size as the others', drawn anew at each look-up: nothing to learn
alternating    one context, and a label whose sign flips at each step that sees the row
overshooting   one context, and a loss weight that puts (learning rate x curvature) near 2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

if TYPE_CHECKING:
    # The original system, whose import name is ours too, trains here as well.
    from gradtracer.analyzers.embedding import EmbeddingTracker
    from gradtracer.run import Run

Kind = Literal["contradictory", "alternating", "overshooting", "none"]
OptimizerName = Literal["sgd", "adam", "adamw", "sparse_adam", "adagrad", "rmsprop"]
ExposureLaw = Literal["zipf", "half-uniform", "uniform"]

_CONTEXTS = 64
_SGD_RATE = 0.5
_OVERSHOOT = (1.8, 1.98)

FIVE_KINDS: tuple[tuple[Kind, OptimizerName], ...] = (
    ("contradictory", "sgd"),
    ("contradictory", "adam"),
    ("alternating", "sgd"),
    ("alternating", "adam"),
    ("overshooting", "sgd"),
)
"""The kinds that every release is held to."""

_OPTIMIZERS: dict[OptimizerName, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=_SGD_RATE),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "sparse_adam": lambda p: torch.optim.SparseAdam(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What to plant, and how to train."""

    kind: Kind
    optimizer: OptimizerName = "sgd"
    exposure: ExposureLaw = "zipf"
    track_interval: int = 1
    seed: int = 0
    rows: int = 2_000
    share: float = 0.05
    dim: int = 16
    batch: int = 256
    label_noise: float = 0.3
    look_ups: int = 400
    exponent: float = 1.0
    """Of the Zipf law."""

    @property
    def burst(self) -> int:
        """Consecutive steps that give each row 16 look-ups on average."""
        return 16 * self.rows // self.batch

    @property
    def steps(self) -> int:
        """`look_ups` a row at interval 1; else until the end of the third burst."""
        if self.track_interval == 1:
            return self.look_ups * self.rows // self.batch
        return self.burst * (2 * self.track_interval + 1)


class PlantedTraining:
    """One table, its truth, and a loop as a user writes it."""

    def __init__(self, plan: Planted) -> None:
        self.plan = plan
        g = torch.Generator().manual_seed(10_000 + plan.seed)
        self._random = g
        order = torch.randperm(plan.rows, generator=g)
        rank_law = (1.0 + order.double()) ** -plan.exponent
        zipf, flat = rank_law / rank_law.sum(), torch.full_like(rank_law, 1.0 / plan.rows)
        mix = {"zipf": 1.0, "half-uniform": 0.5, "uniform": 0.0}[plan.exposure]
        self.law = mix * zipf + (1.0 - mix) * flat
        self._edges = self.law.cumsum(0)
        self.truth: npt.NDArray[np.bool_] = np.zeros(plan.rows, dtype=bool)
        if plan.kind != "none":
            planted = torch.randperm(plan.rows, generator=g)[: round(plan.share * plan.rows)]
            self.truth[planted.numpy()] = True
        self.tested = np.zeros(plan.rows, dtype=bool)
        self._planted = torch.from_numpy(self.truth)
        self._contexts = nn.functional.normalize(torch.randn(_CONTEXTS, plan.dim, generator=g))
        self._taste = torch.randn(plan.rows, plan.dim, generator=g)
        self._own = torch.randint(_CONTEXTS, (plan.rows,), generator=g)
        self._sign = torch.ones(plan.rows)
        low, high = _OVERSHOOT
        factor = (low + (high - low) * torch.rand(plan.rows, generator=g)) / _SGD_RATE
        overshoots = self._planted & (plan.kind == "overshooting")
        self._loss_weight = torch.where(overshoots, factor, 1.0)
        self.table = nn.Embedding(plan.rows, plan.dim, sparse=plan.optimizer == "sparse_adam")
        with torch.no_grad():
            self.table.weight.copy_(0.1 * torch.randn(plan.rows, plan.dim, generator=g))
        self.optimizer = _OPTIMIZERS[plan.optimizer](list(self.table.parameters()))

    def watch(self, run: Run) -> EmbeddingTracker:
        """Attach a tracker, as a user does."""
        from gradtracer.analyzers.embedding import EmbeddingTracker

        return EmbeddingTracker(self.table, track_interval=self.plan.track_interval, run=run)

    def train(self, steps: int | None = None, after: Callable[[], object] | None = None) -> None:
        """Forward, backward, step; and what is to be called after it."""
        for _ in range(self.plan.steps if steps is None else steps):
            ids, context, label, weight = self._draw()
            self.optimizer.zero_grad()
            score = (self.table(ids) * context).sum(dim=1)
            (0.5 * weight * (score - label).square()).sum().backward()
            self.optimizer.step()
            if after is not None:
                after()

    def _draw(self) -> tuple[torch.Tensor, ...]:
        plan, g = self.plan, self._random
        draw = torch.rand(plan.batch, generator=g, dtype=torch.float64)
        ids = torch.searchsorted(self._edges, draw).clamp_(max=plan.rows - 1)
        chosen = torch.randint(_CONTEXTS, (plan.batch,), generator=g)
        planted = self._planted[ids]
        weight = torch.ones(plan.batch)
        if plan.kind in ("alternating", "overshooting"):
            chosen = torch.where(planted, self._own[ids], chosen)
        context = self._contexts[chosen]
        noise = torch.randn(plan.batch, generator=g)
        label = (self._taste[ids] * context).sum(dim=1) + plan.label_noise * noise
        if plan.kind == "contradictory":
            size = (1.0 + plan.label_noise**2) ** 0.5
            label = torch.where(planted, size * torch.randn(plan.batch, generator=g), label)
        elif plan.kind == "alternating":
            label = torch.where(planted, self._sign[ids], label)
            self._sign[ids] = -self._sign[ids]
        if plan.kind in ("alternating", "overshooting"):
            # A row looked up c times in a step would step c times as far along its one context.
            times = torch.bincount(ids, minlength=plan.rows)[ids]
            weight = self._loss_weight[ids] / torch.where(planted, times, 1)
        return ids, context, label, weight


@dataclass(frozen=True)
class Score:
    """How well the named rows match the planted ones."""

    precision: float
    recall: float
    """Over all planted rows."""
    recall_tested: float
    """Over the planted rows with enough tracked look-ups to be tested."""
    false_share: float
    """Healthy rows named, as a share of the table."""

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall over tested rows."""
        total = self.precision + self.recall_tested
        return 2 * self.precision * self.recall_tested / total if total else 0.0


def score(truth: npt.NDArray[np.bool_], named: list[int], tested: npt.NDArray[np.bool_]) -> Score:
    """Compare `named` rows with `truth` `[N]`; `tested` `[N]` tells who could be named."""
    flagged = np.zeros_like(truth)
    flagged[named] = True
    hits = int((flagged & truth).sum())
    return Score(
        precision=hits / flagged.sum() if flagged.any() else float(not truth.any()),
        recall=hits / truth.sum() if truth.any() else 1.0,
        recall_tested=hits / (truth & tested).sum() if (truth & tested).any() else 1.0,
        false_share=float((flagged & ~truth).sum()) / truth.size,
    )
