"""What decoupled weight decay is worth, by what MISSING_REGULARIZATION would propose.

`OMP_NUM_THREADS=1 python tests/bench/bench_decay.py [--seeds 3] [--model sasrec] [--only NAME]`

MovieLens-100K, one of the validation's four models, 20 epochs, the last one kept: Adam as it comes,
against AdamW with each decay of a grid. Validation NDCG@10, mean over seeds, by lr x decay x steps,
the number of time constants within the run; the proposal is at 3.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from validation import films
from validation.models import MODELS
from validation.plans import untuned
from validation.training import train

TIMES = (0, 1, 3, 5, 10)
CASES = {"1e-3": (1e-3, 1.0), "1e-3, tables begin at 0.1": (1e-3, 0.1), "1e-2": (1e-2, 1.0)}
"""Learning rate, and standard deviation that the tables begin with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--model", choices=MODELS, default="mf-bce")
    parser.add_argument("--times", type=int, nargs="+", default=TIMES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = films.load()
    for name, (lr, std) in CASES.items():
        if options.only not in name:
            continue
        plan = replace(untuned(lr)(options.model), std=std)
        steps = plan.epochs * MODELS[options.model](data, plan).steps
        print(f"learning rate {name}: {steps:,} steps", flush=True)
        for times in options.times:
            decay = float(f"{times / lr / steps:.1g}")
            arm = replace(plan, optimizer="AdamW", weight_decay=decay)
            found = [train(arm, data, seed).trained.validation for seed in range(options.seeds)]
            print(
                f"  {times:>3} time constants, weight_decay={decay:<6g}  "
                f"{statistics.fmean(found):.4f}  ({', '.join(f'{each:.4f}' for each in found)})",
                flush=True,
            )


if __name__ == "__main__":
    main()
