"""How well zombie rows are found: planted rows, real optimizers, `track_interval` 1 and 100.

`python tests/bench/bench_zombies.py [--seeds 3] [--exposure zipf half-uniform] [--all]
[--hard]`.

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
from dataclasses import replace
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


def measure(plan: Planted, root: Path, setting: str = "") -> tuple[Score, float]:
    """Train once; the score, and the share of planted rows (or of all) that were tested."""
    settings = Settings(publish=False, report_seconds=1e6)
    with Run(root=root, settings=settings) as run:
        training = HardTraining(plan, setting) if setting else PlantedTraining(plan)
        tracker = training.watch(run)
        training.train()
        named = tracker.zombie_embeddings()
        tested = tracker._observer.noise.exposures.numpy() >= MIN_EXPOSURES
    among = training.truth if training.truth.any() else ~training.truth
    return score(training.truth, named, tested), float(tested[among].mean())


class HardTraining(PlantedTraining):
    """Settings that the first study of the tests did not use.

    curvature, noise  those of each row log-normal, sigma 0.5, about the usual ones
    pretrained        rows begin near what they are to learn
    other task        rows begin at full size, trained for something else
    normalised        rows enter the score at unit length, so their own length says nothing
    """

    def __init__(self, plan: Planted, setting: str) -> None:
        super().__init__(plan)
        self._setting = setting
        g = torch.Generator().manual_seed(77 + plan.seed)
        spread = torch.exp(0.5 * torch.randn(plan.rows, generator=g))
        self._curvature = spread if setting == "curvature" else torch.ones(plan.rows)
        self._noise = spread if setting == "noise" else torch.ones(plan.rows)
        start = torch.randn(plan.rows, plan.dim, generator=g)
        with torch.no_grad():
            if setting == "pretrained":
                self.table.weight.copy_(self._taste + 0.1 * start)
            elif setting == "other task":
                self.table.weight.copy_(start)

    def train(self, steps: int | None = None) -> None:
        plan = self.plan
        for _ in range(plan.steps if steps is None else steps):
            ids, context, label, weight = self._draw()
            more = plan.label_noise * torch.randn(plan.batch, generator=self._random)
            label = label + (self._noise[ids] - 1.0) * more
            self.optimizer.zero_grad()
            rows = self.table(ids)
            if self._setting == "normalised":
                rows = plan.dim**0.5 * torch.nn.functional.normalize(rows, dim=1)
            error = (rows * context).sum(dim=1) - label
            (0.5 * weight * self._curvature[ids] * error.square()).sum().backward()
            self.optimizer.step()


HARD = ("curvature", "noise", "pretrained", "other task", "normalised")


def print_hard(root: Path, seeds: int) -> None:
    """Limits: settings under which rows differ for reasons of their own."""
    print("\nhard settings, half-uniform exposure, interval 1, 200 look-ups a row")
    print(("{:<14}" * 2 + "{:<12}" + "{:>10}" * 4).format(*HARD_HEAD))
    for setting in HARD:
        for kind, optimizer in (
            ("contradictory", "sgd"),
            ("contradictory", "adam"),
            ("alternating", "adam"),
            ("none", "adam"),
        ):
            plan = Planted(kind=kind, optimizer=optimizer, exposure="half-uniform", look_ups=200)
            found = [measure(replace(plan, seed=seed), root, setting)[0] for seed in range(seeds)]
            mean = statistics.fmean
            print(
                f"{setting:<14}{kind:<14}{optimizer:<12}"
                f"{mean(s.precision for s in found):>10.3f}"
                f"{mean(s.recall_tested for s in found):>10.3f}{mean(s.f1 for s in found):>10.3f}"
                f"{100 * mean(s.false_share for s in found):>10.2f}",
                flush=True,
            )


HARD_HEAD = "setting", "kind", "optimizer", "precision", "recall", "F1", "false %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--exposure", nargs="+", default=["zipf", "half-uniform"])
    parser.add_argument("--interval", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--all", action="store_true", help="more optimizers")
    parser.add_argument("--hard", action="store_true", help="only settings beyond the first study")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.hard:
        with tempfile.TemporaryDirectory() as folder:
            print_hard(Path(folder), options.seeds)
        return
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
