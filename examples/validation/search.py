"""The search behind the tuned baselines: every point of a grid on seeds of its own, by validation.

    python examples/validate_autofix.py --search

writes `tuned.json` anew: the grid, every run, and the point with the best mean validation NDCG@10
for each model. The test films have no part in it, nor have the seeds of the search in the table.
"""

from __future__ import annotations

import itertools
import json
import statistics
from typing import Any, NamedTuple

from validation.films import Films
from validation.plans import TUNED, Plan
from validation.training import train

SEEDS = (9_001, 9_002)


class Grid(NamedTuple):
    """What is tried for one model and optimizer."""

    lr: tuple[float, ...]
    weight_decay: tuple[float, ...]
    epochs: int
    patience: int


_MF = Grid((3e-3, 1e-2, 3e-2), (0.0, 0.1, 0.3, 1.0), 40, 5)
_ADAGRAD = Grid((0.03, 0.1, 0.3), (0.0,), 40, 5)
GRIDS = {
    "mf-bce AdamW": _MF,
    "mf-bpr AdamW": _MF,
    "two-tower AdamW": Grid((1e-3, 3e-3, 1e-2), (0.0, 0.1, 1.0), 12, 2),
    "sasrec AdamW": Grid((1e-3, 3e-3, 1e-2), (0.0, 0.1, 1.0), 40, 4),
    "mf-bce Adagrad": _ADAGRAD,
    "mf-bpr Adagrad": _ADAGRAD,
    "two-tower Adagrad": _ADAGRAD._replace(epochs=12, patience=2),
    "sasrec Adagrad": _ADAGRAD._replace(patience=4),
}


def search(films: Films, names: list[str]) -> None:
    """Search the grids of `names`, or all, and keep what `tuned.json` says of the others."""
    found: dict[str, Any] = {"searched": {}, "chosen": {}}
    if TUNED.exists():
        found = json.loads(TUNED.read_text(encoding="utf-8"))
    for name in names or list(GRIDS):
        found["searched"][name], found["chosen"][name] = _searched(films, name)
        found["command"] = "python examples/validate_autofix.py --search"
        found["seeds"] = list(SEEDS)
        TUNED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _searched(films: Films, name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    model, optimizer = name.split()
    grid = GRIDS[name]
    rows: list[dict[str, Any]] = []
    for lr, decay in itertools.product(grid.lr, grid.weight_decay):
        plan = Plan(model, optimizer, lr, decay, grid.epochs, grid.patience)
        kept = [train(plan, films, seed).trained for seed in SEEDS]
        rows.append(
            {
                "lr": lr,
                "weight_decay": decay,
                "validation": [round(each.validation, 5) for each in kept],
                "epochs": [each.epoch for each in kept],
            }
        )
        print(name, rows[-1], flush=True)
    best = max(rows, key=lambda row: statistics.fmean(row["validation"]))
    chosen = {name: best[name] for name in ("lr", "weight_decay")}
    return rows, {**chosen, "epochs": grid.epochs, "patience": grid.patience}
