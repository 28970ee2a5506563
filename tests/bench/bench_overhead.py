"""What observation costs a training step, in process CPU time, with the original system beside it.

`python tests/bench/bench_overhead.py` prints the whole table; `[--rows N ...] [--batch B ...]
[--interval K ...] [--only steps|memory] [--pairs 25] [--no-original]` a part of it.

One thread. An embedding-only model, D 64, SparseAdam, uniform ids: forward, backward, step. Blocks
of steps run in turn with and without the tracker's hooks, on the same table (two tables differ by
more than the tracker costs, by where they lie in memory); each pair of neighbouring blocks gives
one difference.
Figures are medians over pairs, with the quarters they lie between.

CPU time is that of the whole process: the run's own thread (journal on, socket on) is in it while
it waits; its report on a table falls due after the measurement and is timed apart.

At interval k steps are followed in bursts, 1/k of all. Steps inside and outside a burst are
measured apart; `average` weighs them 1 : k - 1, and `first 10,000` as they fall in a run of that
length.

The original (`pip install gradtracer==0.9.0`) runs the same loop in an environment of its own
(`original.py`); where it would take minutes that is said instead.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from original import OURS, OriginalMissing, ask, original_python
from side import DIM, Training

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workspaces"))
from bursts import follows_next

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.forward_hook import listen
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.stepping import add_watcher, remove_watcher

RUN_LENGTH = 10_000
SIDE = Path(__file__).with_name("side.py")
_PATIENCE = 1_000_000
"""Rows above which a followed step of the original takes over a second."""
_STEPS, _STEPS_OF_ORIGINAL = 600, 20
"""Of the trainings whose memory is measured: the allocator's holes grow with them at first."""
_ROWS = (1_000_000, 100_000, 5_000_000)
_BATCHES = (1_024, 8_192)


@dataclass(frozen=True)
class Cost:
    """Overhead of a step."""

    base: float
    """Bare step, seconds."""
    extra: list[float]
    """Seconds added, one for each pair."""

    @property
    def median(self) -> float:
        return statistics.median(self.extra)

    def ratio(self, share: float = 0.5) -> float:
        ordered = sorted(self.extra)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / self.base


def compare(training: Training, tracker: EmbeddingTracker, *, steps: int, pairs: int) -> Cost:
    """Blocks of `steps` with and without observation, in alternating order."""
    base: list[float] = []
    extra: list[float] = []

    def observed() -> float:
        stop = listen(training.table, tracker)
        add_watcher(tracker)
        seconds = training.train(steps)
        remove_watcher(tracker)
        stop()
        return seconds

    for turn in range(pairs):
        if turn % 2:
            b, a = observed(), training.train(steps)
        else:
            a, b = training.train(steps), observed()
        base.append(a)
        extra.append(b - a)
    return Cost(statistics.median(base), extra)


def followed_share(rows: int, batch: int, interval: int) -> float:
    """Share of the first 10,000 steps that are inside a burst."""
    observer = TableObserver(
        torch.empty(rows, 1), track_interval=interval, seed=0, padding_idx=None
    )
    return sum(follows_next(observer, batch) for _ in range(RUN_LENGTH)) / RUN_LENGTH


def measure(rows: int, batch: int, interval: int, pairs: int, folder: Path) -> tuple[float, str]:
    """Seconds added to an average step, and the columns of the table."""
    # Whole groups: steps are taken into the state up to sixteen at a time.
    steps = 48 if batch < 4_096 else 16
    with Run(root=folder, settings=Settings(report_seconds=1e6)) as run:
        training = Training(rows, batch)
        tracker = EmbeddingTracker(training.table, track_interval=interval, run=run)
        training.train(steps)
        tracker._stop_listening()
        remove_watcher(tracker)
        observer, far = tracker._observer, 10**9
        outside = None
        if interval > 1:
            observer._burst_left, observer._pause_left = 0, far
            outside = compare(training, tracker, steps=steps, pairs=pairs)
            observer._burst_left, observer._pause_left = far, far
            tracker.looks_ahead = True
        inside = compare(training, tracker, steps=steps, pairs=pairs)
        outside = outside or inside
        share = followed_share(rows, batch, interval)
        start = time.process_time()
        tracker.figures()
        report = time.process_time() - start
    added = inside.median / interval + outside.median * (1 - 1 / interval)
    first = share * inside.ratio() + (1 - share) * outside.ratio()
    low, high = (
        inside.ratio(q) / interval + outside.ratio(q) * (1 - 1 / interval) for q in (0.25, 0.75)
    )
    return added, (
        f"{rows:>10,}{batch:>7,}{interval:>9}{1e6 * outside.base:>9.0f}"
        f"{1e6 * outside.median:>9.1f}{1e6 * inside.median:>9.1f}{1e6 * added:>9.1f}"
        f"{100 * added / outside.base:>8.2f}{100 * low:>8.2f}{100 * high:>8.2f}"
        f"{100 * first:>8.2f}{report:>8.2f}"
    )


def original(python: Path | None, rows: int, batch: int, interval: int) -> str:
    """The original's overhead on the same loop, in per cent."""
    if python is None:
        return f"{'-':>12}"
    if rows * interval > _PATIENCE * 100 or (rows > _PATIENCE and interval < 100):
        return f"{'minutes':>12}"
    try:
        found = ask(python, SIDE, "overhead", rows, batch, interval, 5 if interval < 100 else 3)
    except OriginalMissing as error:
        return f"  failed: {error}"
    return f"{100 * found['extra'] / found['base']:>11.0f}%"


def bare_gather(rows: int, batch: int) -> float:
    """Seconds to read the batch's rows of the table and to write them back: what physics asks."""
    table = torch.randn(rows, DIM)
    ids = [torch.randint(rows, (batch,)) for _ in range(64)]
    start = time.process_time()
    for one in ids:
        table.index_copy_(0, one, table.index_select(0, one))
    return (time.process_time() - start) / len(ids)


def print_memory(python: Path | None, rows: int, batches: list[int]) -> None:
    """Resident memory beyond the bare training's, as a share of the table.

    With glibc as it is, and told to give blocks of 128 KiB and more back when they are freed: by
    itself it keeps them in the heap once some were freed, with holes that differ from run to run.
    """
    whole = rows * DIM * 4
    print(f"\nextra memory at {rows:,} rows, % of the table")
    print(f"{'':>18}{'batch':>7}{'steady':>9}{'steps':>9}{'report':>9}")
    given_back = {"MALLOC_MMAP_THRESHOLD_": "131072"}
    for batch in batches:
        for name, interpreter, steps, allocator in (
            ("ours", OURS, _STEPS, {}),
            ("  given back", OURS, _STEPS, given_back),
            ("original", python, _STEPS_OF_ORIGINAL, {}),
            ("  given back", python, _STEPS_OF_ORIGINAL, given_back),
        ):
            if interpreter is None:
                continue
            try:
                found = ask(interpreter, SIDE, "memory", rows, batch, 1, steps, allocator=allocator)
            except OriginalMissing as error:
                print(f"{name:>18}{batch:>7,}  not measured: {error}")
                continue
            shares = [100 * found[key] / whole for key in ("steady", "steps", "peak")]
            line = "".join(f"{share:>9.1f}" for share in shares)
            print(f"{name:>18}{batch:>7,}{line}", flush=True)


def print_steps(python: Path | None, options: argparse.Namespace) -> None:
    """What a step costs at each size, and how that grows with the table."""
    print(
        f"{'':>26}{'bare':>9}{'outside':>9}{'inside':>9}{'average':>9}"
        f"{'':>8}{'quarter':>8}{'quarter':>8}{'first':>8}{'report':>8}{'original':>12}"
    )
    print(
        f"{'rows':>10}{'batch':>7}{'interval':>9}{'us':>9}{'+us':>9}{'+us':>9}{'+us':>9}"
        f"{'+%':>8}{'low':>8}{'high':>8}{'10,000':>8}{'s':>8}{'+%':>12}"
    )
    added: dict[tuple[int, int, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in options.rows:
            usual = (1, 10, 100) if rows == 1_000_000 else (1, 100)
            for batch in options.batch:
                for interval in options.interval or usual:
                    key = rows, batch, interval
                    added[key], line = measure(*key, options.pairs, Path(folder))
                    gc.collect()
                    print(line + original(python, *key), flush=True)
    small, large = min(options.rows), max(options.rows)
    if small < large:
        print(f"\ngrowth of the added microseconds from {small:,} to {large:,} rows (goal 1.3)")
        for rows, batch, interval in added:
            if rows == small and (large, batch, interval) in added:
                growth = added[large, batch, interval] / added[small, batch, interval]
                print(f"  batch {batch:>5,}, interval {interval:>3}: {growth:.2f}")
    print("\nreading a batch's rows of 1,000,000 x 64 and writing them back, us")
    for batch in options.batch:
        print(f"  batch {batch:>5,}: {1e6 * bare_gather(1_000_000, batch):.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--rows", type=int, nargs="+", default=list(_ROWS))
    parser.add_argument("--batch", type=int, nargs="+", default=list(_BATCHES))
    parser.add_argument("--interval", type=int, nargs="+", help="of 1, 10 and 100")
    parser.add_argument("--only", choices=("steps", "memory"))
    parser.add_argument("--no-original", action="store_true", help="leave the original system out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    python = None
    if not options.no_original:
        try:
            python = original_python()
        except OriginalMissing as error:
            print(f"the original system is left out: {error}")
    if options.only != "memory":
        print_steps(python, options)
    if options.only != "steps" and sys.platform == "linux":
        print_memory(python, 1_000_000, options.batch)


if __name__ == "__main__":
    main()
