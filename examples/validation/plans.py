"""What is trained: a plan for each model and setting, the tuned one read from `tuned.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

TUNED = Path(__file__).with_name("tuned.json")


class NotTuned(Exception):
    """No search is recorded for a model and optimizer; the message says how to make one."""


@dataclass(frozen=True)
class Plan:
    """Everything that a training needs beside the data and the seed."""

    model: str
    optimizer: str
    lr: float
    weight_decay: float
    epochs: int
    patience: int
    """Stop after so many epochs without a better validation NDCG@10 and keep the best; 0 trains to
    the end and keeps the last."""
    dim: int = 32
    noise: float = 0.0
    """Share of the training items that are replaced at random."""
    std: float = 0.1
    """Standard deviation that the tables begin with; PyTorch's own is 1."""
    batch: int = 0
    """Examples in a step; 0 leaves it to the model."""

    def described(self) -> dict[str, Any]:
        return asdict(self)


def tuned_plan(model: str, optimizer: str = "AdamW") -> Plan:
    """What the recorded search chose. Raises NotTuned."""
    name = f"{model} {optimizer}"
    chosen = json.loads(TUNED.read_text(encoding="utf-8"))["chosen"]
    if name not in chosen:
        raise NotTuned(f'not tuned: python examples/validate_autofix.py --search "{name}"')
    return Plan(model, optimizer, **chosen[name])


def untuned(lr: float) -> Callable[[str], Plan]:
    """As it comes: Adam, no weight decay, PyTorch's own tables, 20 epochs and the last one kept."""

    def plan(model: str) -> Plan:
        batch = 1_024 if model.startswith("mf") else 0
        return Plan(model, "Adam", lr, 0.0, epochs=20, patience=0, std=1.0, batch=batch)

    return plan


def noisy(share: float) -> Callable[[str], Plan]:
    return lambda model: replace(tuned_plan(model), noise=share)


def short(model: str) -> Plan:
    return replace(tuned_plan(model), epochs=8, patience=0)


def too_fast(model: str) -> Plan:
    plan = tuned_plan(model)
    return replace(plan, lr=4 * plan.lr)


SETTINGS: dict[str, Callable[[str], Plan]] = {
    "tuned": tuned_plan,
    "adam 1e-3": untuned(1e-3),
    "adam 1e-2": untuned(1e-2),
    "noise 5 %": noisy(0.05),
    "noise 10 %": noisy(0.10),
    "noise 20 %": noisy(0.20),
    "8 epochs": short,
    "adagrad": lambda model: tuned_plan(model, "Adagrad"),
    "lr x 4": too_fast,
}
