"""What observation costs a training step, in process CPU time.

`python tests/bench/bench_overhead.py [--pairs 15] [--quick]`. One thread. An embedding-only model,
D 64, SparseAdam, uniform ids: forward, backward, step. Blocks of steps run in turn with and without
the tracker's hooks, on the same table (two tables differ by more than the tracker costs, by where
they lie in memory); each pair of neighbouring blocks gives one difference. Figures are medians over
pairs, with the 10th and 90th percentile.

CPU time is that of the whole process: the run's own thread (journal on, socket on) is in it while
it waits; its report on a table falls due after the measurement and is timed apart.

At interval k steps are followed in bursts, 1/k of all. Steps inside and outside a burst are
measured apart; `average` weighs them 1 : k - 1, and `first 10,000` as they fall in a run of that
length.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.forward_hook import listen
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.stepping import add_watcher, remove_watcher

DIM = 64
RUN_LENGTH = 10_000


class Training:
    """A loop as a user writes it; ids are drawn in advance."""

    def __init__(self, rows: int, batch: int, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(rows, DIM, sparse=True)
        self.optimizer = torch.optim.SparseAdam(self.table.parameters(), lr=1e-3)
        self._ids = [torch.randint(rows, (batch,), generator=g) for _ in range(64)]
        self._step = 0

    def train(self, steps: int) -> float:
        """Seconds of CPU time for a step, on average."""
        ids, table, optimizer = self._ids, self.table, self.optimizer
        start = time.process_time()
        for _ in range(steps):
            optimizer.zero_grad()
            table(ids[self._step % 64]).square().sum().backward()
            optimizer.step()
            self._step += 1
        return (time.process_time() - start) / steps


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
    return sum(observer._in_burst(batch) for _ in range(RUN_LENGTH)) / RUN_LENGTH


def state_bytes(tracker: EmbeddingTracker) -> int:
    """Bytes of every tensor that the tracker keeps, the table itself apart."""
    seen: dict[int, int] = {}
    queue: list[object] = [tracker._observer]
    visited: set[int] = set()
    while queue:
        item = queue.pop()
        if id(item) in visited:
            continue
        visited.add(id(item))
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, list | tuple):
            queue.extend(item)
        elif hasattr(item, "__dict__"):
            queue.extend(vars(item).values())
    return sum(seen.values())


def measure(rows: int, batch: int, intervals: list[int], pairs: int, folder: Path) -> None:
    """Print the lines of one table size and batch."""
    steps = max(20, 40_000 // batch)
    for interval in intervals:
        settings = Settings(report_seconds=1e6)
        with Run(root=folder, settings=settings) as run:
            training = Training(rows, batch)
            tracker = EmbeddingTracker(training.table, track_interval=interval, run=run)
            training.train(steps)
            tracker._stop_listening()
            remove_watcher(tracker)
            observer = tracker._observer
            far = 10**9
            if interval > 1:
                observer._burst_left, observer._pause_left = 0, far
                pause = compare(training, tracker, steps=steps, pairs=pairs)
                observer._burst_left, observer._pause_left = far, far
            burst = compare(training, tracker, steps=steps, pairs=pairs)
            if interval == 1:
                pause = burst
            share = followed_share(rows, batch, interval)
            average = burst.ratio() / interval + pause.ratio() * (1 - 1 / interval)
            first = share * burst.ratio() + (1 - share) * pause.ratio()
            kept = state_bytes(tracker) / rows
            start = time.process_time()
            tracker.figures()
            report = time.process_time() - start
        print(
            f"{rows:>10,}{batch:>7,}{interval:>9}{1e6 * pause.base:>10.0f}"
            f"{1e6 * pause.median:>10.1f}{100 * pause.ratio():>9.2f}"
            f"{1e6 * burst.median:>10.1f}{100 * burst.ratio():>9.2f}"
            f"{100 * burst.ratio(0.1):>8.1f}{100 * burst.ratio(0.9):>8.1f}"
            f"{100 * average:>10.2f}{100 * first:>8.2f}{kept:>9.1f}{report:>9.2f}",
            flush=True,
        )
        del training, tracker, observer
        gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="1,000,000 rows only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(
        f"{'':>26}{'bare':>10}{'outside':>10}{'a burst':>9}{'inside':>10}{'a burst':>9}"
        f"{'':>16}{'average':>10}{'first':>8}{'state':>9}{'report':>9}"
    )
    print(
        f"{'rows':>10}{'batch':>7}{'interval':>9}{'us':>10}{'+us':>10}{'+%':>9}{'+us':>10}"
        f"{'+%':>9}{'p10':>8}{'p90':>8}{'+%':>10}{'10,000':>8}{'B/row':>9}{'s':>9}"
    )
    with tempfile.TemporaryDirectory() as folder:
        sizes = [1_000_000] if options.quick else [1_000_000, 100_000, 5_000_000]
        for rows in sizes:
            for batch in (1_024, 8_192):
                intervals = [1, 10, 100] if rows == 1_000_000 else [1, 100]
                measure(rows, batch, intervals, options.pairs, Path(folder))


if __name__ == "__main__":
    main()
