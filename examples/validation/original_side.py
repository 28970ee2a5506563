"""Run by the original's interpreter: trains with its `auto_fix` and prints one line of JSON.

    original_side.py DATA MODEL SETTING SEED...

Its import name is ours: nothing that is imported here may import gradtracer.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from validation import films
from validation.plans import SETTINGS, Plan
from validation.training import train


class Original:
    """Its trackers on every table; it asks for `step()` after the optimizer's."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan) -> None:
        self._trackers = [
            EmbeddingTracker(each, name=name, track_interval=1, auto_fix=True)
            for name, each in model.named_modules()
            if isinstance(each, nn.Embedding)
        ]

    def stepped(self, loss: torch.Tensor) -> None:
        for tracker in self._trackers:
            tracker.step()

    def epoch_ended(self, ndcg: float) -> None:
        pass


def main() -> None:
    torch.set_num_threads(1)
    data, model, setting, *seeds = sys.argv[1:]
    found = films.tiny() if data == "tiny" else films.load(data or None)
    records = {}
    for seed in map(int, seeds):
        # It prints as it trains.
        with contextlib.redirect_stdout(io.StringIO()):
            done = train(SETTINGS[setting](model), found, seed, watch=Original)
        records[seed] = {
            "validation": done.trained.validation,
            "ranks": done.trained.ranks,
            "epoch": done.trained.epoch,
            "seconds": round(done.seconds, 2),
            "notes": {},
        }
    print(json.dumps(records))


if __name__ == "__main__":
    main()
