"""How well zombie rows are found: planted rows, real optimizers, `track_interval` 1 and 100.

`python tests/bench/bench_zombies.py [--seeds 3] [--exposure zipf half-uniform] [--interval 1 100]
[--dim 16] [--exponent 1.0] [--only none/adam converged ...] [--all] [--hard] [--no-original]`.

At interval 1 a row is looked up 400 times on average (the rarest under Zipf about 50), at 100 the
training lasts until its third burst ends. F1 and recall are over rows that were tested (8 tracked
look-ups in succession and more); `tested` is their share of the planted rows. A case of kind `none`
has no planted row: only false flags count there; `converged` is the same after 1,200 look-ups a row
under a constant learning rate, at interval 1 (at 100 each of them has as many). A line is printed
when its cell is done: `--only` takes those that are missing.

The last two columns are of the original (`original.py`) on the first of the same trainings: F1 over
all planted rows, and healthy rows named.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from original import OriginalMissing, ask, original_python

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workspaces"))

from planted import FIVE_KINDS, Kind, OptimizerName, Planted, PlantedTraining, Score, score

from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.statistics.zombie_rows import MIN_EXPOSURES


class Case(NamedTuple):
    """One row of the table for each exposure law and interval."""

    kind: Kind
    optimizer: OptimizerName
    converged: bool = False

    @property
    def name(self) -> str:
        return "converged" if self.converged else self.kind

    def chosen(self, beginnings: list[str]) -> bool:
        """Whether it was asked for by the beginning of `name/optimizer`; by none, every case is."""
        told = f"{self.name}/{self.optimizer}"
        return not beginnings or any(told.startswith(each) for each in beginnings)


SIDE = Path(__file__).with_name("side_zombies.py")
NO_PLANTED = (
    Case("none", "sgd"),
    Case("none", "adam"),
    Case("none", "sgd", converged=True),
    Case("none", "adam", converged=True),
)
OTHERS = (
    Case("contradictory", "sparse_adam"),
    Case("contradictory", "adagrad"),
    Case("contradictory", "adamw"),
    Case("contradictory", "rmsprop"),
    Case("alternating", "sparse_adam"),
    Case("none", "sparse_adam"),
    Case("none", "adagrad"),
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


def print_case(case: Case, plan: Planted, seeds: int, root: Path, python: Path | None) -> None:
    """One row of the table."""
    found = [measure(replace(plan, seed=seed), root) for seed in range(seeds)]
    scores, tested = [s for s, _ in found], [share for _, share in found]
    mean = statistics.fmean
    print(
        f"{case.name:<14}{plan.optimizer:<12}{plan.exposure:<13}{plan.track_interval:>10}"
        f"{mean(s.precision for s in scores):>10.3f}"
        f"{mean(s.recall_tested for s in scores):>10.3f}"
        f"{mean(s.f1 for s in scores):>10.3f}"
        f"{min(s.f1 for s in scores):>10.3f}"
        f"{100 * mean(s.false_share for s in scores):>10.2f}"
        f"{100 * mean(tested):>10.1f}{original(python, plan)}",
        flush=True,
    )


def original(python: Path | None, plan: Planted) -> str:
    """The original's F1 and false share on the same training."""
    if python is None:
        return f"{'-':>12}{'-':>10}"
    words = plan.kind, plan.optimizer, plan.exposure, plan.track_interval, plan.look_ups
    try:
        found = ask(python, SIDE, *words, 1)
    except OriginalMissing as error:
        return f"  failed: {error}"
    return f"{found['f1']:>12.3f}{100 * found['false']:>10.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--exposure", nargs="+", default=["zipf", "half-uniform"])
    parser.add_argument("--interval", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--exponent", type=float, default=1.0, help="of the Zipf law")
    parser.add_argument("--only", nargs="+", default=[], metavar="KIND[/OPTIMIZER]")
    parser.add_argument("--all", action="store_true", help="more optimizers")
    parser.add_argument("--hard", action="store_true", help="only settings beyond the first study")
    parser.add_argument("--no-original", action="store_true", help="leave the original system out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.hard:
        with tempfile.TemporaryDirectory() as folder:
            print_hard(Path(folder), options.seeds)
        return
    usual = (options.dim, options.exponent) == (16, 1.0)
    python = None
    if usual and not options.no_original:
        try:
            python = original_python()
        except OriginalMissing as error:
            print(f"the original system is left out: {error}")
    cases = [Case(*kind) for kind in FIVE_KINDS] + [*NO_PLANTED, *(OTHERS if options.all else ())]
    cases = [case for case in cases if case.chosen(options.only)]
    head = "kind", "optimizer", "exposure", "interval", "precision", "recall", "F1", "F1 worst"
    print(
        f"2,000 rows, D {options.dim}, Zipf exponent {options.exponent:g}, 5 % planted; means over "
        f"{options.seeds} seeds"
    )
    columns = "false %", "tested %", "original F1", "false %"
    print(("{:<14}{:<12}{:<13}" + "{:>10}" * 7 + "{:>12}{:>10}").format(*head, *columns))
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            for exposure in options.exposure:
                for interval in [1] if case.converged else options.interval:
                    plan = Planted(
                        kind=case.kind,
                        optimizer=case.optimizer,
                        exposure=exposure,
                        track_interval=interval,
                        look_ups=1_200 if case.converged else 400,
                        dim=options.dim,
                        exponent=options.exponent,
                    )
                    print_case(case, plan, options.seeds, Path(folder), python)


if __name__ == "__main__":
    main()
