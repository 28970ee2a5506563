"""What constraints are worth where `OVERFITTING_ROUNDS` offers them with the best round.

    python tests/bench/bench_tree_constraints.py [--seeds 20] [--first-seed 60000]

Overfitted trainings on effects that go one way, that turn, that do either, and on the sines and the
interaction of `bench_tree_diagnoses.py`; and sound ones. The squared error is that to the truth
without noise, on examples that no diagnosis saw: of the model with the offered rounds and
constraints, against the one with these rounds alone. Paired over seeds; noise, rate, depth and
sizes are drawn anew for each.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import bench_tree_diagnoses as planted
import numpy as np

from gradtracer.analyzers.trees import TreeDynamicsTracker

warnings.filterwarnings("ignore")
Truth = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def one_way(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.tanh(1.5 * x[:, :5]) @ rng.choice([-1, 1], 5)


def turning(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sin(3 * x[:, :5]).sum(axis=1)


def either(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    line = x[:, :3] @ rng.choice([-1, 1], 3)
    return line + 1.5 * np.abs(x[:, 3]) + 1.5 * np.sin(2.5 * x[:, 4])


def sines(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sin(x[:, :5]).sum(axis=1) + 0.5 * x[:, 1] * x[:, 2]


def arms(
    trainers: Any, library: str, truth: Truth, seed: int, *, sound: bool
) -> tuple[bool, float | None]:
    """Whether the metric turned, and the change of the error where constraints are offered."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(9_000, int(rng.integers(6, 20))))
    f = truth(x, rng)
    noise = rng.uniform(0.3, 1.0) if sound else rng.uniform(2.0, 4.0)
    y = f + noise * rng.normal(size=f.size)
    cut = int(rng.integers(1_500, 3_000) if sound else rng.integers(400, 800))
    how: dict[str, Any] = {"rounds": 150, "rate": rng.uniform(0.1, 0.3)}
    how["depth"] = int(rng.integers(5, 7))
    if sound:
        how |= {"rounds": 60, "rate": rng.uniform(0.05, 0.12), "depth": int(rng.integers(3, 5))}
    end = cut + 2_000
    seen = trainers.Split(x[:cut], y[:cut], x[cut:end], y[cut:end])
    fresh = trainers.Split(x[:cut], y[:cut], x[end:], f[end:])
    trained = trainers.train(library, seen, seed=seed, **how)
    tracker = TreeDynamicsTracker(
        trained.model, evals=trained.evals, held_out=(seen.x_valid, seen.y_valid)
    )
    findings = [each for each in tracker.findings() if each.type == "OVERFITTING_ROUNDS"]
    offers = [fix for each in findings for fix in each.fixes if fix.fix == "constrain-monotone"]
    if not offers:
        return bool(findings), None
    given = offers[0].parameters
    signs = [given["signs"].get(column, 0) for column in given["columns"]]
    how["rounds"] = given["rounds"]

    def error(**more: Any) -> float:
        evals = trainers.train(library, fresh, seed=seed, **how, **more).evals
        last = float(next(iter(list(evals.values())[-1].values()))[-1])
        return last if library == "lightgbm" else last**2

    written = tuple(signs) if library == "xgboost" else signs
    return True, error(monotone_constraints=written) / error() - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=60_000)
    args = parser.parse_args()
    trainers = planted.load_trainers()
    print(f"{args.seeds} seeds from {args.first_seed}; error to the truth, against rounds alone")
    cases = [(truth, False) for truth in (one_way, either, sines, turning)]
    for truth, sound in [*cases, (one_way, True), (sines, True)]:
        for library in planted.LIBRARIES:
            seeds = range(args.first_seed, args.first_seed + args.seeds)
            found = [arms(trainers, library, truth, seed, sound=sound) for seed in seeds]
            changes = np.array([change for _, change in found if change is not None])
            name = f"{truth.__name__}{' sound' if sound else ''}"
            turned = sum(raised for raised, _ in found)
            told = f"{name:13} {library:9} overfit {turned:>3}, offered {changes.size:>3}"
            if changes.size > 1:
                half = 1.96 * changes.std(ddof=1) / np.sqrt(changes.size)
                told += f"  {changes.mean():+.1%} +- {half:.1%}, worst {changes.max():+.1%}"
            print(told, flush=True)


if __name__ == "__main__":
    main()
