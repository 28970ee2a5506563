"""Trainings for the tests of the advice on a training, and figures without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

import gradtracer
from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.training import TrainingTracker
from gradtracer.analyzers.training_figures import TrainingFigures
from gradtracer.diagnoses.finding import Finding
from gradtracer.learning_curve import Curve

USERS, ITEMS, DIM = 400, 300, 16
ADAM = OptimizerFacts("Adam", 1e-2, 0.0, coupled=True, base_lr=1e-2, adaptive=True)
ADAMW = ADAM._replace(name="AdamW", coupled=False, weight_decay=0.5)


class Scores(nn.Module):
    def __init__(self, std: float) -> None:
        super().__init__()
        self.user_emb = nn.Embedding(USERS, DIM)
        self.item_emb = nn.Embedding(ITEMS, DIM)
        if std != 1.0:
            for table in (self.user_emb, self.item_emb):
                nn.init.normal_(table.weight, std=std)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return (self.user_emb(users) * self.item_emb(items)).sum(-1)


def choices(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`[users, 40]` items by taste and Zipf's law, and negatives for the last 8 of them."""
    g = torch.Generator().manual_seed(seed)
    taste = torch.randn(USERS, 4, generator=g) @ torch.randn(4, ITEMS, generator=g)
    liked = torch.softmax(taste - torch.log(torch.arange(1.0, ITEMS + 1)), dim=1)
    items = torch.multinomial(liked, 40, replacement=True, generator=g)
    return items, torch.randint(ITEMS, (USERS * 8, 4), generator=g)


def loss_of(
    model: Scores, users: torch.Tensor, items: torch.Tensor, negatives: torch.Tensor
) -> torch.Tensor:
    scores = model(users[:, None], torch.cat([items[:, None], negatives], dim=1))
    labels = torch.zeros_like(scores)
    labels[:, 0] = 1.0
    return nn.functional.binary_cross_entropy_with_logits(scores, labels)


def trained(
    tmp_path: Path,
    *,
    optimizer: str = "Adam",
    lr: float = 1e-2,
    decay: float = 0.0,
    std: float = 1.0,
    epochs: int = 20,
    seed: int = 0,
    told: bool = True,
    model: Scores | None = None,
) -> dict[str, Finding]:
    """What the tests say at the end of a real training, by type."""
    torch.manual_seed(seed)
    chosen, negatives = choices(seed)
    users = torch.arange(USERS)[:, None].expand(-1, 40)
    seen = users[:, :32].reshape(-1), chosen[:, :32].reshape(-1)
    held_out = users[:, 32:].reshape(-1), chosen[:, 32:].reshape(-1), negatives
    model = Scores(std) if model is None else model
    built = getattr(torch.optim, optimizer)(model.parameters(), lr=lr, weight_decay=decay)
    run = gradtracer.watch(
        model, optimizer=built, folder=str(tmp_path), publish=False, report_seconds=1e6
    )
    for _ in range(epochs):
        losses: list[float] = []
        for batch in torch.randperm(len(seen[0])).split(256):
            drawn = torch.randint(ITEMS, (len(batch), 4))
            loss = loss_of(model, seen[0][batch], seen[1][batch], drawn)
            built.zero_grad()
            loss.backward()
            built.step()
            losses.append(loss.item())
        if told:
            with torch.no_grad():
                validation = loss_of(model, *held_out)
            run.log(loss=float(np.mean(losses)), validation_loss=validation)
    return advice(run)


def advice(run: gradtracer.Run) -> dict[str, Finding]:
    """What the tests say at the end, which is what the stream says."""
    run.flush()
    (tracker,) = [each for each in run.trackers if isinstance(each, TrainingTracker)]
    found = tracker.findings(tracker.figures(ended=True))
    run.finish()
    assert {each.type for each in tracker.diagnoses} == {each.type for each in found}
    return {each.type: each for each in found}


def figures(
    loss: list[float] | None = None,
    validation: list[float] | None = None,
    optimizer: OptimizerFacts = ADAM,
    ended: bool = True,
) -> TrainingFigures:
    def curve(name: str, values: list[float] | None) -> Curve | None:
        if values is None:
            return None
        steps = np.arange(100, 100 * len(values) + 1, 100, dtype=np.float64)
        return Curve(name, steps, np.array(values))

    return TrainingFigures(
        step=100 * len(loss or validation or [0]),
        total_steps=None,
        ended=ended,
        optimizer=optimizer,
        loss=curve("loss", loss),
        validation=curve("validation_loss", validation),
    )
