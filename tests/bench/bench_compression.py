"""What recipes are worth against their targets, and how long one takes without a metric.

    python tests/bench/bench_compression.py [SEEDS]

The models, baselines and the table are those of examples/validate_compression.py, 10 seeds unless
told otherwise; what build/compression holds is not measured again. The original 0.9.0 compresses
the models of seed 0 beside it. Then the recipe of a table of 1M x 64 and an MLP, process CPU time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(Path(__file__).parent)]

from original import OriginalMissing, ask, original_python  # noqa: E402

import recommenders  # noqa: E402
import validate_compression  # noqa: E402
from gradtracer import RecipeGenerator  # noqa: E402

CACHE = ROOT / "build" / "compression"


def without_a_metric() -> str:
    """CPU time of a recipe from counts alone."""
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64), nn.Linear(64, 1))
    model = nn.ModuleDict({"table": nn.Embedding(1_000_000, 64), "net": net})
    counts = np.random.default_rng(0).zipf(1.2, 1_000_000).clip(max=10**6)
    started, wall = time.process_time(), time.perf_counter()
    recipe = RecipeGenerator(model, look_ups={"table": counts}).generate()
    took, waited = time.process_time() - started, time.perf_counter() - wall
    return (
        f"1M x 64 table and MLP, no metric: {took:.1f} s of CPU ({waited:.1f} s on the wall), "
        f"{(recipe.bytes_before or 0) / 1e6:.0f} to {(recipe.bytes_after or 0) / 1e6:.0f} MB"
    )


def beside_the_original(names: list[str]) -> str:
    """One line for each model."""
    lines: list[str] = []
    for name in names:
        try:
            seen = ask(
                original_python(),
                Path(__file__).parent / "side_recipe.py",
                ROOT / "examples",
                name,
                CACHE / f"{name}_0.pt",
            )
        except OriginalMissing as error:
            lines.append(f"{name:<11}original 0.9.0, apply_joint_compression(0.8): {error}")
            continue
        times = seen["bytes_before"] / seen["bytes_after"]
        change = 100 * (seen["after"] / seen["before"] - 1)
        lines.append(
            f"{name:<11}original 0.9.0, apply_joint_compression(0.8): "
            f"{times:.2f}x smaller, test NDCG@10 {change:+.2f} %"
        )
    return "\n".join(lines)


def main(seeds: int) -> None:
    torch.set_num_threads(1)
    print(without_a_metric(), flush=True)
    task = recommenders.load_task()
    print(f"data: {task.source}; full-rank NDCG@10, {seeds} seeds, change with 95 % intervals")
    names = list(recommenders.TUNED)
    results = validate_compression.run(task, names, range(seeds), CACHE)
    print(validate_compression.table(results))
    print(beside_the_original(names))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
