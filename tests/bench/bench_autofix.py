"""Auto-fix: does it do what it states, is its measurement honest, what does a step cost.

`OMP_NUM_THREADS=1 python tests/bench/bench_autofix.py [--runs 200] [--pairs 25] [--rows 1000000]
[--only realised|control|cost]`

1. Realised update against the stated factor, under six optimizers: each step is taken twice from
   the same state, once scaled and once not; the ratio of both is compared with the factor.
2. The control arm: simulated runs of 500 rows with levels, noise and learning rates of their own,
   whose gradients go through the probe's own statistic, arms and looks. Without an effect, how many
   runs have an interval that leaves out zero, at any look and at each; with an effect of the size
   that `smallest_effect` documents for their arms at the last look, in how many it is found there.
3. Process CPU time of a step, 64 dimensions, SparseAdam, batch 1,024, in pairs of blocks that run
   in turn with and without it on the same table; medians, with the quarters they lie between.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from side import Training
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.forward_hook import ForwardHook
from gradtracer.analyzers.table_state import read_state
from gradtracer.auto_fix.averaging import RowAverage
from gradtracer.auto_fix.confidence_sequence import smallest_effect
from gradtracer.auto_fix.holdout import ALPHA, BETTER, Holdout, Outcomes
from gradtracer.auto_fix.hook import UNTOUCHED, RowScaler
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.statistics.noise_energy import NoiseEnergy
from gradtracer.stepping import add_watcher, remove_watcher

Array = npt.NDArray[np.float64]
Make = Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, tuple[Make, bool]] = {
    "SGD, momentum": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), False),
    "Adam": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-4), False),
    "AdamW": (lambda p: torch.optim.AdamW(p, lr=0.01), False),
    "SparseAdam": (lambda p: torch.optim.SparseAdam(list(p), lr=0.01), True),
    "Adagrad": (lambda p: torch.optim.Adagrad(p, lr=0.1), False),
    "RMSprop": (lambda p: torch.optim.RMSprop(p, lr=0.01), False),
}
FACTORS = (26, 77, 128, 204)
"""Levels of a quarter of the rows each."""


def realised(make: Make, *, sparse: bool, steps: int = 20) -> list[float]:
    """Ratio of realised to stated factor, of each row in each step."""
    rows, generator = 400, torch.Generator().manual_seed(0)
    table = nn.Embedding(rows, 16, sparse=sparse)
    optimizer, scaler = make(table.parameters()), RowScaler()
    levels = torch.tensor(FACTORS, dtype=torch.uint8).repeat(rows // 4)
    scaler.scale(levels)
    goal = torch.randn(rows, 16, generator=generator)
    found: list[float] = []
    for _ in range(steps):
        ids = torch.randint(rows, (128,), generator=generator)
        optimizer.zero_grad()
        (
            table(ids) - goal[ids] + torch.randn(128, 16, generator=generator)
        ).square().sum().backward()
        start, state = table.weight.detach().clone(), copy.deepcopy(optimizer.state_dict())
        optimizer.step()
        plain = table.weight.detach() - start
        table.weight.data.copy_(start)
        optimizer.load_state_dict(state)
        scaler.before_step(table.weight, "update")
        optimizer.step()
        scaler.after_step(table.weight)
        scaled = table.weight.detach() - start
        moved = plain.norm(dim=1) > 1e-6
        ratio = (scaled * plain).sum(1) / plain.square().sum(1)
        found += (ratio[moved] / (levels[moved] / UNTOUCHED)).tolist()
    return found


class Simulation:
    """One run: rows whose gradients are noise of their own size, learning slowly or not."""

    ROWS = 500
    BEFORE = 24
    EXPOSURES = 200
    LOOK_EVERY = 8

    def __init__(self, seed: int, effect: float) -> None:
        self.random = np.random.default_rng(seed)
        self.holdout = Holdout("item_emb", self.ROWS, holdout=0.2, seed=seed)
        self.noise = NoiseEnergy(self.ROWS, 8, torch.device("cpu"), seed)
        self.held = self.holdout.held_out(np.arange(self.ROWS))
        self.size = np.exp(0.5 * self.random.standard_t(5, self.ROWS))
        self.rate = self.random.uniform(0.02, 1.2, self.ROWS)
        self.away = self.random.normal(size=(self.ROWS, 8))
        self.effect = effect
        self.exposures = 0

    def expose(self, *, treated: bool) -> None:
        """One step on all rows: gradient of a parabola plus noise that the effect scales."""
        size = self.size * np.where(treated & ~self.held, np.exp(self.effect / 2), 1.0)
        gradient = self.away + size[:, None] * self.random.standard_t(5, (self.ROWS, 8))
        self.away -= self.rate[:, None] * gradient
        ids = torch.arange(self.ROWS)
        self.noise.record(0, ids, torch.from_numpy(gradient).float())
        self.noise.settle(ids, [0, self.ROWS])
        self.exposures += 1

    def outcomes(self) -> Outcomes:
        values = {
            "noise_energy": np.log(self.noise.noise.double().numpy()),
            "update_efficiency": 0.5 + 0.5 * self.noise.agreement.double().numpy(),
        }
        return Outcomes(values, np.full(self.ROWS, self.exposures))

    def documented(self, look: int) -> float:
        """Smallest effect that the last look is to find, by the arms that this run drew."""
        held = int(self.held.sum())
        return smallest_effect(self.ROWS - held, held, alpha=ALPHA / len(BETTER), look=look)

    def ends(self) -> tuple[Array, Array]:
        """Log noise energy of each row when it became eligible, and at the end."""
        ends: list[Array] = []
        for exposures in (self.BEFORE, self.EXPOSURES):
            for _ in range(exposures):
                self.expose(treated=False)
            ends.append(self.outcomes().values["noise_energy"])
        return ends[0], ends[1]

    def run(self) -> list[dict[str, tuple[float, float]]]:
        """Intervals of each look."""
        for _ in range(self.BEFORE):
            self.expose(treated=False)
        rows = self.holdout.enrol(np.arange(self.ROWS))
        self.holdout.begin(rows, self.outcomes(), 0)
        found: list[dict[str, tuple[float, float]]] = []
        for step in range(1, self.EXPOSURES + 1):
            self.expose(treated=True)
            if step % self.LOOK_EVERY == 0 and self.holdout.look(self.outcomes(), step, interval=1):
                found.append({each.statistic: each.interval for each in self.holdout.effects})
        return found


def spread_of_outcome() -> float:
    """Standard deviation within arms of a row's adjusted log noise energy at the end.

    From 40 runs of other seeds without an effect, where both arms are one.
    """
    squares: list[float] = []
    for seed in range(10_000, 10_040):
        before, after = Simulation(seed, 0.0).ends()
        residual = after - np.polyval(np.polyfit(before, after, 1), before)
        squares.append(float(residual.var(ddof=2)))
    return math.sqrt(statistics.fmean(squares))


def control_arm(runs: int) -> None:
    """Print coverage and power."""
    nothing = [Simulation(seed, 0.0).run() for seed in range(runs)]
    looks = len(nothing[0])
    outside = [
        [any(not low <= 0 <= high for low, high in look.values()) for look in run]
        for run in nothing
    ]
    each = [statistics.fmean(not run[n] for run in outside) for n in range(looks)]
    whole = statistics.fmean(not any(run) for run in outside)
    print(f"\ncontrol arm: {runs} simulated runs of {Simulation.ROWS} rows, {looks} looks each")
    print(f"  without effect, all intervals cover zero: {100 * whole:.1f} % of runs (goal 95)")
    print(f"  at the look where it is least: {100 * min(each):.1f} %")
    spread = spread_of_outcome()
    sizes = [Simulation(seed, 0.0).documented(looks) for seed in range(20_000, 20_000 + runs)]
    size = statistics.fmean(sizes)
    lower, higher = (100 * np.expm1(sign * size * spread) for sign in (-1, 1))
    print(
        f"  documented size at look {looks}: {size:.2f} standard deviations of {spread:.3f} "
        f"({min(sizes):.2f} to {max(sizes):.2f} by the arms that a run drew): "
        f"noise energy {lower:+.1f} or {higher:+.1f} %"
    )
    for sign, words in ((-1, "an improvement"), (1, "harm, and stops itself")):
        found = 0
        for seed, size in enumerate(sizes, 20_000):
            intervals = [
                look["noise_energy"] for look in Simulation(seed, sign * size * spread).run()
            ]
            low, high = intervals[-1]
            found += (high < 0) if sign < 0 else (low > 0)
        print(f"  power at the last look for {words}: {found / runs:.3f} (goal 0.9)", flush=True)


class Watched:
    """Around the optimizer's step, as a tracker would be told."""

    def __init__(self, table: nn.Embedding, scaler: RowScaler) -> None:
        self.table, self.scaler = table, scaler

    def parameters(self) -> Iterable[torch.Tensor]:
        return (self.table.weight,)

    looks_ahead = True

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.before_step(self.table.weight, "update")

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.after_step(self.table.weight)


def pairs_of(
    training: Training, begin: Callable[[], Callable[[], None]], pairs: int
) -> tuple[float, list[float]]:
    """Seconds of a bare step, and ratios added by what `begin` switches on."""
    base: list[float] = []
    ratios: list[float] = []
    for turn in range(pairs):
        seconds: dict[bool, float] = {}
        for on in (False, True) if turn % 2 else (True, False):
            end = begin() if on else None
            seconds[on] = training.train(48)
            if end is not None:
                end()
        base.append(seconds[False])
        ratios.append(seconds[True] / seconds[False] - 1)
    return statistics.median(base), ratios


def print_cost(name: str, base: float, ratios: list[float], goal: str) -> None:
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"  {name:<34}{1e6 * base:>8.0f}{100 * middle:>9.1f}{100 * low:>8.1f}{100 * high:>8.1f}"
        f"{goal:>7}",
        flush=True,
    )


def costs(rows: int, pairs: int) -> None:
    """Print what a step costs."""
    print(f"\nstep cost, {rows:,} x 64, batch 1,024, SparseAdam")
    print(f"  {'':<34}{'bare us':>8}{'+%':>9}{'low':>8}{'high':>8}{'goal':>7}")
    training = Training(rows, 1_024)
    training.train(48)
    random = torch.Generator().manual_seed(0)
    for name, share in (("shrinkage, 1 % of the rows", 0.01), ("shrinkage, 80 % of the rows", 0.8)):
        scaler = RowScaler()
        chosen = torch.rand(rows, generator=random) < share
        scaler.scale(torch.where(chosen, 77, UNTOUCHED).to(torch.uint8))
        watched = Watched(training.table, scaler)

        def begin(watched: Watched = watched) -> Callable[[], None]:
            add_watcher(watched)
            return lambda: remove_watcher(watched)

        print_cost(name, *pairs_of(training, begin, pairs), "10")
    for name, dtype in (("averaging", None), ("averaging in bfloat16", torch.bfloat16)):
        average = RowAverage(training.table, dtype=dtype)
        average.detach()

        def average_on(average: RowAverage = average) -> Callable[[], None]:
            hook = training.table.register_forward_hook(ForwardHook(average), with_kwargs=True)
            add_watcher(average)
            average._active = True

            def off() -> None:
                hook.remove()
                remove_watcher(average)

            return off

        print_cost(name, *pairs_of(training, average_on, pairs), "25")
        print(f"  {'':<34}memory {100 * average.memory / (rows * 64 * 4):.0f} % of the table")
        del average
    decision(rows)


def decision(rows: int) -> None:
    """Print what a decision takes, as a share of the steps between two."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(report_seconds=1e6, publish=False)
        with Run(root=Path(folder), settings=settings) as run:
            training = Training(rows, 1_024)
            tracker = EmbeddingTracker(training.table, auto_fix=True, track_interval=10, run=run)
            step = training.train(64)
            auto_fix, observer = tracker._auto_fix.current, tracker._observer
            assert auto_fix is not None
            # As late in a training: every row was followed often enough to be tested.
            observer.noise.state.view(torch.int16)[8::12] = 20 * 16
            observer.noise.energy.copy_(1 + torch.rand(rows))
            observer.noise.noise.copy_(torch.rand(rows) + 0.1)
            start = time.process_time()
            auto_fix.decide(read_state(observer), training.table.weight)
            seconds = time.process_time() - start
            between = max(256, 4 * rows // 1_024)
            print(
                f"  a decision: {seconds:.2f} s of CPU time, once in {between:,} steps: "
                f"{100 * seconds / (between * step):.1f} % of their time"
            )


def realised_ratios() -> None:
    """Print what each optimizer makes of the stated factors."""
    print("realised update / stated factor (goal: 0.98 to 1.02)")
    print(f"  {'':<16}{'rows x steps':>13}{'lowest':>9}{'median':>9}{'highest':>9}")
    for name, (make, sparse) in OPTIMIZERS.items():
        found = sorted(realised(make, sparse=sparse))
        ends = found[0], statistics.median(found), found[-1]
        print(f"  {name:<16}{len(found):>13,}" + "".join(f"{each:>9.4f}" for each in ends))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("realised", "control", "cost"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.only in (None, "realised"):
        realised_ratios()
    if options.only in (None, "control"):
        control_arm(options.runs)
    if options.only in (None, "cost"):
        costs(options.rows, options.pairs)


if __name__ == "__main__":
    main()
