"""What observing a model's layers costs a training step, in process CPU time.

`python tests/bench/bench_layers_cost.py [--pairs 9] [--only mlp|transformer]`; the MLP takes 25
times the pairs. One thread. Blocks of steps run in turn with and without the tracker's hooks on the
same model and optimizer; each pair of neighbouring blocks gives one difference; figures are medians
over pairs, with the quartiles.
Steps within a burst and between bursts are measured apart; `average` weighs them 1 : k - 1, as they
fall in a long run (the first 64 steps are followed one and all, which is `first 10,000`).

CPU time is that of the whole process, so that the run's own thread is in it while it waits; a
report on all layers is timed apart.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from gradtracer.analyzers.burst import BURST
from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.layer_observer import FIRST_BURSTS
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.stepping import add_watcher, remove_watcher

INTERVALS = (1, 10, 100)


class Block(nn.Module):
    """A transformer block whose parts are layers of their own."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.up, self.down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.first, self.second = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        h = self.first(x)
        q, k, v = (f(h).view(n, t, 4, d // 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        a = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(n, t, d))
        return x + self.down(torch.relu(self.up(self.second(x))))


class Transformer(nn.Module):
    """25 blocks of 8 layers; 25.6M weights at a width of 358, rounded to 356."""

    def __init__(self, dim: int = 356, depth: int = 25, words: int = 1_000) -> None:
        super().__init__()
        self.table = nn.Embedding(words, dim)
        self.blocks = nn.Sequential(*(Block(dim) for _ in range(depth)))
        self.head = nn.Linear(dim, words)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.table(ids)))


Step = Callable[[], None]


def mlp() -> tuple[nn.Module, Step]:
    """Five layers of 128, batch 64, Adam: a step of well under a millisecond."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(4):
        parts += [nn.Linear(128, 128), nn.ReLU()]
    model = nn.Sequential(*parts, nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters())
    x, y = torch.randn(64, 128), torch.randint(10, (64,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, step


def transformer() -> tuple[nn.Module, Step]:
    """201 layers, batch 4 x 32 tokens, AdamW."""
    torch.manual_seed(0)
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(1_000, (4, 33))

    def step() -> None:
        optimizer.zero_grad()
        logits = model(ids[:, :-1])
        nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()

    return model, step


def timed(step: Step, steps: int) -> float:
    start = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - start) / steps


def compare(
    tracker: FlowTracker, step: Step, steps: int, pairs: int, prepare: Callable[[], None]
) -> tuple[float, list[float]]:
    """Seconds of a bare step, and what a watched one takes beyond it, for each pair."""
    base: list[float] = []
    extra: list[float] = []

    def watched() -> float:
        add_watcher(tracker)
        step()
        prepare()
        seconds = timed(step, steps)
        remove_watcher(tracker)
        step()
        return seconds

    for turn in range(pairs):
        a = timed(step, steps) if turn % 2 else None
        b = watched()
        a = timed(step, steps) if a is None else a
        base.append(a)
        extra.append(b - a)
    return statistics.median(base), extra


def measure(name: str, build: Callable[[], tuple[nn.Module, Step]], pairs: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Run(root=Path(folder), settings=Settings(report_seconds=1e6)) as run,
    ):
        model, step = build()
        tracker = FlowTracker(model, track_interval=1, run=run)
        for _ in range(BURST * (FIRST_BURSTS + 1)):
            step()
        (observer,) = tracker._assigned.all

        def rest() -> None:
            # A pause is as long as the interval allows.
            observer.set_interval(10**9)
            observer.idle = 10**9

        def follow() -> None:
            observer.set_interval(1)
            observer.idle = 0

        layers = len(tracker.sites)
        weights = sum(p.numel() for p in model.parameters())
        # Short blocks, and many of them: the machine's other work changes between long ones.
        blocks, pairs = BURST, pairs if name == "transformer" else 25 * pairs
        base, within = compare(tracker, step, blocks, pairs, follow)
        _, between = compare(tracker, step, blocks, pairs, rest)
        print(f"{name}: {layers} layers, {weights / 1e6:.2f}M weights, step {base * 1e3:.2f} ms")
        for label, extra in (("in a burst", within), ("between", between)):
            low, middle, high = statistics.quantiles(extra, n=4)
            print(
                f"  {label:<12}{middle * 1e6:>10.1f} us  {middle / base:>+8.2%}"
                f"  [{low / base:+.2%}, {high / base:+.2%}]"
            )
        a, b = statistics.median(within) / base, statistics.median(between) / base
        early = BURST * FIRST_BURSTS / 10_000
        for interval in INTERVALS:
            average = (a + b * (interval - 1)) / interval
            first = early * a + (1 - early) * average
            print(
                f"  interval {interval:>4}  average {average:>+7.2%}  first 10,000 {first:>+7.2%}"
            )
        start = time.process_time()
        tracker.publish(final=True)
        print(f"  a report: {(time.process_time() - start) * 1e3:.1f} ms, in a thread of its own")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--only", choices=["mlp", "transformer"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, build in (("mlp", mlp), ("transformer", transformer)):
        if arguments.only in (None, name):
            measure(name, build, arguments.pairs)


if __name__ == "__main__":
    main()
