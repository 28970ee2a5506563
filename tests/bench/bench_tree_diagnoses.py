"""Planted faults in three libraries: what is found, what is cried over nothing, who agrees.

    python tests/bench/bench_tree_diagnoses.py [--seeds 20] [--first-seed 5000]

Each case is drawn anew for each seed (size, noise, learning rate, depth) and trained by each
library as a user would. Findings are those that the callback or `TreeDynamicsTracker` would give.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gradtracer.analyzers.trees import TreeDynamicsTracker

warnings.filterwarnings("ignore")
LIBRARIES = ("xgboost", "lightgbm", "catboost")
PLANTED = ("TARGET_LEAKAGE", "OVERFITTING_ROUNDS", "STAGNANT_LEAVES", "SPLIT_CONCENTRATION")


def load_trainers() -> Any:
    """The trainers that the tests use."""
    path = Path(__file__).resolve().parents[1] / "probe" / "trees" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tree_trainers", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tree_trainers"] = module
    spec.loader.exec_module(module)
    return module


Case = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, dict[str, Any]]]


def signal(rng: np.random.Generator, n: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Several smooth effects of like size, and an interaction."""
    x = rng.normal(size=(n, features))
    return x, np.sin(x[:, :5]).sum(axis=1) + 0.5 * x[:, 1] * x[:, 2]


def leak(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    x, y = signal(rng, int(rng.integers(1_000, 4_000)), int(rng.integers(8, 20)))
    y = (y + 0.5 * rng.normal(size=y.size) > 0).astype(int)
    x[:, 6] = y + rng.uniform(0.01, 0.1) * rng.normal(size=y.size)
    return x, y, {"rounds": 60, "rate": rng.uniform(0.1, 0.3), "depth": 4, "binary": True}


def overfit(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    x, y = signal(rng, 4_000, int(rng.integers(6, 20)))
    y = y + rng.uniform(2.0, 4.0) * rng.normal(size=y.size)
    how = {"rounds": 150, "rate": rng.uniform(0.1, 0.3), "depth": int(rng.integers(5, 7))}
    return x, y, {**how, "train": int(rng.integers(400, 800))}


def stagnation(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    n, features = int(rng.integers(1_000, 4_000)), int(rng.integers(5, 10))
    x = rng.integers(0, 2, size=(n, features)).astype(float)
    y = x[:, :3] @ rng.uniform(0.8, 1.2, size=3)
    return x, y, {"rounds": 120, "rate": rng.uniform(0.2, 0.4), "depth": 4}


def concentration(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    x, y = signal(rng, int(rng.integers(2_000, 4_000)), int(rng.integers(8, 20)))
    y = rng.uniform(4.0, 6.0) * np.sin(x[:, 7]) + 0.5 * y + rng.normal(size=y.size)
    return x, y, {"rounds": 50, "rate": 0.1, "depth": int(rng.integers(3, 5))}


def sound(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    x, y = signal(rng, int(rng.integers(3_000, 6_000)), int(rng.integers(6, 20)))
    y = y + rng.uniform(0.3, 1.0) * rng.normal(size=y.size)
    return x, y, {"rounds": 60, "rate": rng.uniform(0.05, 0.12), "depth": int(rng.integers(3, 5))}


CASES: dict[str, tuple[Case, str | None]] = {
    "leak": (leak, "TARGET_LEAKAGE"),
    "overfit": (overfit, "OVERFITTING_ROUNDS"),
    "stagnation": (stagnation, "STAGNANT_LEAVES"),
    "concentration": (concentration, "SPLIT_CONCENTRATION"),
    "sound": (sound, None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=5_000)
    args = parser.parse_args()
    trainers = load_trainers()
    began = time.monotonic()
    found: Counter[tuple[str, str, str]] = Counter()
    agreeing: list[bool] = []
    for name, (case, _) in CASES.items():
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            x, y, how = case(np.random.default_rng(seed))
            cut = how.pop("train", len(y) // 2)
            split = trainers.Split(x[:cut], y[:cut], x[cut:], y[cut:])
            verdicts: list[frozenset[str]] = []
            for library in LIBRARIES:
                trained = trainers.train(library, split, seed=seed, **how)
                tracker = TreeDynamicsTracker(
                    trained.model, evals=trained.evals, X=x[:cut], y=y[:cut]
                )
                types = {finding.type for finding in tracker.findings()} & set(PLANTED)
                verdicts.append(frozenset(types))
                found.update((library, name, each) for each in types)
            agreeing += [one == other for one, other in itertools.combinations(verdicts, 2)]
    print(f"{args.seeds} seeds from {args.first_seed}, {time.monotonic() - began:.0f} s")
    print(f"{'type':22} {'library':10} {'recall':>7} {'precision':>10}  cried in")
    for name, (_, kind) in CASES.items():
        if kind is None:
            continue
        for library in LIBRARIES:
            hits = found[library, name, kind]
            elsewhere = {other: found[library, other, kind] for other in CASES if other != name}
            raised = hits + sum(elsewhere.values())
            precision = f"{hits / raised:.2f}" if raised else "-"
            cried = ", ".join(f"{other} {count}" for other, count in elsewhere.items() if count)
            print(f"{kind:22} {library:10} {hits / args.seeds:>7.2f} {precision:>10}  {cried}")
    print(f"the three libraries agree on {np.mean(agreeing):.2f} of {len(agreeing)} pairs")


if __name__ == "__main__":
    main()
