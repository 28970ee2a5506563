"""How often the layers' tests are right: planted faults found, healthy trainings left alone.

`python tests/bench/bench_layers.py [--seeds 5] [--interval 2] [--only NAME]`. Every case of
`tests/workspaces/planted_layers.py` is trained once for each seed under a tracker that reports
every 32 followed steps, as a run's own thread would, so that hysteresis is in the figures. A fault
counts as found when its diagnosis was raised on the layer where it was planted; anything else that
was raised and is no true consequence of it counts as a false alarm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

from gradtracer.analyzers.flow import FlowTracker
from gradtracer.run import Run
from gradtracer.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "workspaces"))

from planted_layers import HEALTHY, PLANTED, Case

_EVERY = 32


def raised(case: Case, seed: int, interval: int, folder: Path) -> set[tuple[str, str]]:
    """`(type, layer)` of every diagnosis that was raised in the course of one training."""
    settings = Settings(report_seconds=1e6, publish=False)
    found: set[tuple[str, str]] = set()
    with Run(root=folder, settings=settings) as run:
        training = case.build(seed)
        tracker = FlowTracker(training.model, track_interval=interval, run=run)
        for step in range(case.steps):
            next(training.steps)
            if step % _EVERY == _EVERY - 1:
                tracker.publish()
                found |= {(str(d.type), d.layer) for d in tracker.diagnoses}
        tracker.publish(final=True)
        found |= {(str(d.type), d.layer) for d in tracker.diagnoses}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--interval", type=int, default=2)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hits = misses = false = trainings = 0
    print(f"{'case':<30}{'expected':<24}{'found':>7}  others raised (trainings)")
    with tempfile.TemporaryDirectory() as folder:
        for case in (*PLANTED, *HEALTHY):
            if arguments.only not in case.name:
                continue
            found = 0
            others: Counter[str] = Counter()
            for seed in range(arguments.seeds):
                got = raised(case, seed, arguments.interval, Path(folder))
                hit = any(kind == case.expected and layer in case.layers for kind, layer in got)
                wrong = {
                    kind
                    for kind, layer in got
                    if kind not in case.also
                    and not (kind == case.expected and layer in case.layers)
                }
                found += hit
                others.update(wrong)
                false += len(wrong)
                trainings += 1
            if case.expected is not None:
                hits, misses = hits + found, misses + arguments.seeds - found
            share = f"{found}/{arguments.seeds}" if case.expected else "-"
            rest = ", ".join(f"{kind} ({n})" for kind, n in sorted(others.items())) or "none"
            print(f"{case.name:<30}{case.expected or 'nothing':<24}{share:>7}  {rest}", flush=True)
    recall = hits / max(1, hits + misses)
    precision = hits / max(1, hits + false)
    print(f"recall {recall:.3f}, precision {precision:.3f}, {false} false in {trainings} trainings")


if __name__ == "__main__":
    main()
