"""One system's cost, measured in a process of its own: ours, or the original (its import name is
ours too). Imports nothing of either but `EmbeddingTracker`.

`python tests/bench/side.py overhead ROWS BATCH INTERVAL PAIRS` and
`python tests/bench/side.py memory ROWS BATCH INTERVAL STEPS` print one line of JSON.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn

DIM = 64


class Training:
    """An embedding-only loop as a user writes it, with ids drawn in advance."""

    def __init__(self, rows: int, batch: int, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(rows, DIM, sparse=True)
        self.optimizer = torch.optim.SparseAdam(self.table.parameters(), lr=1e-3)
        self._ids = [torch.randint(rows, (batch,), generator=g) for _ in range(64)]
        self._step = 0

    def train(self, steps: int, tracker: object = None) -> float:
        """Seconds of CPU time for a step, on average; the original asks for `step()`."""
        ids, table, optimizer = self._ids, self.table, self.optimizer
        after = getattr(tracker, "step", None)
        start = time.process_time()
        for _ in range(steps):
            optimizer.zero_grad()
            table(ids[self._step % 64]).square().sum().backward()
            optimizer.step()
            if after is not None:
                after()
            self._step += 1
        return (time.process_time() - start) / steps


def overhead(rows: int, batch: int, interval: int, pairs: int) -> dict[str, float]:
    """The original's: blocks of whole intervals, its gradient hook on and off in turn."""
    from gradtracer.analyzers.embedding import EmbeddingTracker

    training = Training(rows, batch)
    training.train(20)
    tracker = EmbeddingTracker(training.table, track_interval=interval)
    training.train(2 * interval, tracker)
    steps = max(10, interval)
    base, extra = [], []
    for _ in range(pairs):
        tracker._hook.remove()
        bare = training.train(steps)
        tracker._hook = training.table.weight.register_hook(tracker._grad_hook)
        base.append(bare)
        extra.append(training.train(steps, tracker) - bare)
    return {"base": statistics.median(base), "extra": statistics.median(extra)}


def memory(rows: int, batch: int, interval: int, steps: int) -> dict[str, float]:
    """Resident bytes beyond the bare training's: while it trains, and highest against highest.

    The bare training goes on until its own allocator has settled. Its gradients and its optimizer's
    copies of them come and go at every step, so that its highest is above what it keeps.
    """
    from gradtracer.analyzers.embedding import EmbeddingTracker

    training = Training(rows, batch)
    training.train(80)
    # The first tracker of a process loads what all share, and fills the allocator's pools.
    small = Training(4_000, batch)
    first = EmbeddingTracker(small.table, track_interval=interval)
    small.train(40, first)
    first.summary()
    first.detach()
    _forget_the_highest()
    training.train(steps)
    bare, highest = _resident("VmRSS"), _resident("VmHWM")
    _forget_the_highest()
    tracker = EmbeddingTracker(training.table, track_interval=interval)
    training.train(steps, tracker)
    gc.collect()
    steady, peak_of_steps = _resident("VmRSS"), _resident("VmHWM")
    tracker.summary()
    return {
        "steady": steady - bare,
        "steps": peak_of_steps - highest,
        "peak": _resident("VmHWM") - highest,
    }


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise KeyError(name)


def _forget_the_highest() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measure = {"overhead": overhead, "memory": memory}[sys.argv[1]]
    print(json.dumps(measure(*[int(argument) for argument in sys.argv[2:]])))
