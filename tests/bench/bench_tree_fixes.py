"""What shallower trees are worth where `OVERFITTING_ROUNDS` offers them: test loss, both ways.

    python tests/bench/bench_tree_fixes.py [--seeds 20] [--first-seed 9000]

The planted overfitting of `bench_tree_diagnoses.py`, and its sound cases, in which nothing may be
offered. Each is trained as found, with the depth that is offered, and with the rounds that are
offered, alone and together; the test examples are seen by no diagnosis. Paired over seeds.
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from typing import Any

import bench_tree_diagnoses as planted
import numpy as np

from gradtracer.analyzers.trees import TreeDynamicsTracker

warnings.filterwarnings("ignore")


def offers(tracker: TreeDynamicsTracker) -> dict[str, int]:
    """Values by parameter that the finding on overfitting offers."""
    return {
        fix.parameters["parameter"]: fix.parameters["value"]
        for finding in tracker.findings()
        if finding.type == "OVERFITTING_ROUNDS"
        for fix in finding.fixes
        if "parameter" in fix.parameters
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=9_000)
    args = parser.parse_args()
    trainers = planted.load_trainers()
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    offered: dict[tuple[str, str], int] = defaultdict(int)
    for name in ("overfit", "sound"):
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            x, y, how = planted.CASES[name][0](np.random.default_rng(seed))
            cut = how.pop("train", len(y) // 2)
            end = cut + (len(y) - cut) // 2
            seen = trainers.Split(x[:cut], y[:cut], x[cut:end], y[cut:end])
            fresh = trainers.Split(x[:cut], y[:cut], x[end:], y[end:])
            for library in planted.LIBRARIES:
                trained = trainers.train(library, seen, seed=seed, **how)
                held_out = (seen.x_valid, seen.y_valid)
                tracker = TreeDynamicsTracker(trained.model, evals=trained.evals, held_out=held_out)
                given = offers(tracker)
                if "max_depth" not in given:
                    continue
                offered[name, library] += 1

                def loss(library: str = library, seed: int = seed, **how: Any) -> float:
                    evals = trainers.train(library, fresh, seed=seed, **how).evals  # noqa: B023
                    metrics = list(evals.values())[-1]
                    last = float(next(iter(metrics.values()))[-1])
                    return last if library == "lightgbm" else last**2

                before = loss(**how)
                depth, rounds = {"depth": given["max_depth"]}, {"rounds": given["num_boost_round"]}
                for arm, changed in (
                    ("depth", depth),
                    ("rounds", rounds),
                    ("both", depth | rounds),
                ):
                    tried: dict[str, Any] = {**how, **changed}
                    ratios[library, arm].append(loss(**tried) / before - 1)
    print(f"{args.seeds} seeds from {args.first_seed}; squared error on test examples")
    for library in planted.LIBRARIES:
        told = f"{offered['overfit', library]} overfit, {offered['sound', library]} sound"
        print(f"{library:10} max_depth offered in {told}")
        for arm in ("depth", "rounds", "both"):
            values = np.array(ratios[library, arm])
            if values.size < 2:
                continue
            half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
            better = (values < 0).mean()
            print(f"{'':10} {arm:7} {values.mean():+.1%} +- {half:.1%}, better in {better:.0%}")


if __name__ == "__main__":
    main()
