"""How well zombie rows are found: planted rows, real optimizers, `track_interval` 1 and 100.

`python tests/bench/bench_zombies.py [--seeds 3] [--exposure zipf half-uniform] [--all]`.

At interval 1 a row is looked up 400 times on average (the rarest under Zipf about 50), at 100 the
training lasts until its third burst ends. F1 and recall are over rows that were tested (8 tracked
look-ups in succession and more); `tested` is their share of the planted rows. A case of kind `none`
has no planted row: only false flags count there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workspaces"))

from planted import FIVE_KINDS, Planted, PlantedTraining, Score, score

from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.statistics.zombie_rows import MIN_EXPOSURES

NO_PLANTED = (("none", "sgd"), ("none", "adam"))
OTHERS = (
    ("contradictory", "sparse_adam"),
    ("contradictory", "adagrad"),
    ("contradictory", "adamw"),
    ("contradictory", "rmsprop"),
    ("alternating", "sparse_adam"),
    ("none", "sparse_adam"),
    ("none", "adagrad"),
)


def measure(plan: Planted, root: Path) -> tuple[Score, float]:
    """Train once; the score, and the share of planted rows (or of all) that were tested."""
    settings = Settings(publish=False, report_seconds=1e6)
    with Run(root=root, settings=settings) as run:
        training = PlantedTraining(plan)
        tracker = training.watch(run)
        training.train()
        named = tracker.zombie_embeddings()
        tested = tracker._observer.noise.exposures.numpy() >= MIN_EXPOSURES
    among = training.truth if training.truth.any() else ~training.truth
    return score(training.truth, named, tested), float(tested[among].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--exposure", nargs="+", default=["zipf", "half-uniform"])
    parser.add_argument("--interval", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--all", action="store_true", help="more optimizers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = FIVE_KINDS + NO_PLANTED + (OTHERS if options.all else ())
    head = "kind", "optimizer", "exposure", "interval", "precision", "recall", "F1", "F1 worst"
    print("2,000 rows, D 16, 5 % planted; means over", options.seeds, "seeds")
    print(("{:<14}{:<12}{:<13}" + "{:>10}" * 7).format(*head, "false %", "tested %"))
    with tempfile.TemporaryDirectory() as folder:
        for kind, optimizer in cases:
            for exposure in options.exposure:
                for interval in options.interval:
                    found = [
                        measure(
                            Planted(
                                kind=kind,
                                optimizer=optimizer,
                                exposure=exposure,
                                track_interval=interval,
                                seed=seed,
                            ),
                            Path(folder),
                        )
                        for seed in range(options.seeds)
                    ]
                    scores, tested = [s for s, _ in found], [share for _, share in found]
                    mean = statistics.fmean
                    print(
                        f"{kind:<14}{optimizer:<12}{exposure:<13}{interval:>10}"
                        f"{mean(s.precision for s in scores):>10.3f}"
                        f"{mean(s.recall_tested for s in scores):>10.3f}"
                        f"{mean(s.f1 for s in scores):>10.3f}"
                        f"{min(s.f1 for s in scores):>10.3f}"
                        f"{100 * mean(s.false_share for s in scores):>10.2f}"
                        f"{100 * mean(tested):>10.1f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
