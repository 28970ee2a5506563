"""The zombies that the original system names on our planted tables, in a process of its own.

`python tests/bench/side_zombies.py KIND OPTIMIZER EXPOSURE INTERVAL LOOK_UPS SEEDS` prints one line
of JSON. It tests every row that it has seen, so recall is over all planted rows.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workspaces"))

from planted import Planted, PlantedTraining, Score, score

from gradtracer.analyzers.embedding import EmbeddingTracker


def named(plan: Planted) -> Score:
    """Train once under the original's tracker, which is told of every step."""
    training = PlantedTraining(plan)
    tracker = EmbeddingTracker(training.table, track_interval=plan.track_interval)
    training.train(after=tracker.step)
    rows = [int(row) for row in tracker.zombie_embeddings()]
    return score(training.truth, rows, np.ones(plan.rows, dtype=bool))


def main(
    kind: Any, optimizer: Any, exposure: Any, interval: str, look_ups: str, seeds: str
) -> None:
    found = [
        named(
            Planted(
                kind=kind,
                optimizer=optimizer,
                exposure=exposure,
                track_interval=int(interval),
                look_ups=int(look_ups),
                seed=seed,
            )
        )
        for seed in range(int(seeds))
    ]
    print(
        json.dumps(
            {
                "f1": statistics.fmean(each.f1 for each in found),
                "false": statistics.fmean(each.false_share for each in found),
            }
        )
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
