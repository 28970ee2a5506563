"""What it costs to observe boosted trees, and to read 5,000 of them; the original beside it.

    python tests/bench/bench_trees.py [--rounds 500] [--repeats 2] [--no-original]
        [--only overhead|flatness|post-hoc] [--libraries catboost]

Process CPU time of whole trainings on one thread, watched and alone by turns. The original runs in
an environment of its own (`original.py`), as its import name is ours.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import xgboost
from original import OURS, OriginalMissing, ask, original_python
from xgboost.callback import TrainingCallback

import gradtracer
from gradtracer.analyzers.trees import TreeDynamicsTracker
from gradtracer.callbacks.catboost import GradTracerCallback as CatBoostCallback

warnings.filterwarnings("ignore")
logging.getLogger("gradtracer").setLevel(logging.ERROR)
LIBRARIES = ("xgboost", "lightgbm", "catboost")

SIDE = Path(__file__).with_name("side_trees.py")


def data(n: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Additive signal with an interaction and noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, features)).astype(np.float32)
    y = np.sin(x[:, :8]).sum(axis=1) + x[:, 0] * x[:, 1] + rng.normal(size=n)
    return x, y.astype(np.float32)


def trainer(
    library: str, x: np.ndarray, y: np.ndarray, rounds: int, rate: float = 0.1
) -> Callable[..., Any]:
    """Trains trees of depth 6 once, with the callbacks it is given.

    CatBoost writes its metrics to files, as it does by default.
    """
    n = len(y) * 4 // 5

    def train(*callbacks: Any) -> Any:
        given = list(callbacks)
        if library == "xgboost":
            d, v = xgboost.DMatrix(x[:n], y[:n]), xgboost.DMatrix(x[n:], y[n:])
            return xgboost.train(
                {"max_depth": 6, "eta": rate, "nthread": 1},
                d,
                rounds,
                evals=[(d, "train"), (v, "valid")],
                verbose_eval=False,
                callbacks=given,
            )
        if library == "lightgbm":
            d = lightgbm.Dataset(x[:n], y[:n])
            return lightgbm.train(
                {
                    "num_leaves": 63,
                    "max_depth": 6,
                    "learning_rate": rate,
                    "num_threads": 1,
                    "verbose": -1,
                },
                d,
                rounds,
                valid_sets=[d, d.create_valid(x[n:], y[n:])],
                callbacks=given,
            )
        model = catboost.CatBoostRegressor(
            iterations=rounds,
            depth=6,
            learning_rate=rate,
            thread_count=1,
            verbose=0,
            train_dir=tempfile.mkdtemp(),
            use_best_model=False,
        )
        return model.fit(x[:n], y[:n], eval_set=(x[n:], y[n:]), callbacks=given if given else None)

    return train


def finish() -> None:
    """End the run of a library that does not say when it ends, within what is measured."""
    run = gradtracer.run.open_run()
    if run is not None:
        run.finish()


class Empty(TrainingCallback):
    """A callback that does nothing: what a library asks for having any."""

    def after_iteration(self, *told: Any) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        # CatBoost goes on where it is answered True, XGBoost stops there.
        return len(told) == 1

    def __call__(self, env: Any) -> None:
        pass


def overhead(args: argparse.Namespace, python: Path | None) -> None:
    x, y = data(args.examples, 50)
    held = Path(tempfile.mkdtemp()) / "data.npz"
    np.savez(held, x=x, y=y)
    print(f"training of {args.examples:,} x 50, {args.rounds} rounds, depth 6, one thread")
    print(f"{'':10} {'alone':>8} {'watched':>9} {'ours':>7} {'empty':>8}  {'by pairs':19} original")
    for library in args.libraries:
        train = trainer(library, x, y, args.rounds)
        callback = getattr(gradtracer, f"{library}_callback")
        ratios, ours, empty, alone = [], [], [], []
        for _ in range(args.repeats):
            alone.append(spent(train))
            ratios.append(spent(lambda: (train(callback()), finish())) / alone[-1] - 1)  # noqa: B023
            empty.append(spent(lambda: train(Empty())) / alone[-1] - 1)  # noqa: B023
            ours.append(share_of_ours(library, train))
        # CatBoost is told nothing of by the original while it trains.
        found = side(None if library == "catboost" else python, "train", library, held, args.rounds)
        original = f"{found['share']:+.1%}" if found else "-"
        told = " ".join(f"{ratio:+.1%}" for ratio in ratios)
        print(
            f"{library:10} {statistics.median(alone):>6.1f} s {statistics.median(ratios):>+8.1%} "
            f"{statistics.median(ours):>7.2%} {statistics.median(empty):>+8.1%}  {told:19} "
            f"{original}",
            flush=True,
        )


def spent(do: Callable[[], object]) -> float:
    """CPU seconds of the process."""
    began = time.process_time()
    do()
    return time.process_time() - began


class Around:
    """CPU seconds of the process after each round, and those of them that observing took.

    They are what the callback takes in the thread that trains, and all that other threads do: with
    one thread the library has no other. No difference of trainings is taken, so a busy machine
    tells nearly the same.
    """

    order, before_iteration = 25, False

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        self.inside = 0.0
        self.clock: list[tuple[float, float, float]] = []
        """Round, CPU seconds of the process, and of observing."""

    def __call__(self, env: Any) -> None:
        self._timed(self._callback, env)

    def after_iteration(self, *told: Any) -> bool:
        return self._timed(self._callback.after_iteration, *told)

    def _timed(self, do: Callable[..., Any], *told: Any) -> Any:
        began = time.thread_time()
        answer = do(*told)
        ended, process = time.thread_time(), time.process_time()
        self.inside += ended - began
        self.clock.append((len(self.clock) + 1, process, self.inside + process - ended))
        return answer


class AroundXGBoost(Around, TrainingCallback):  # pyright: ignore[reportIncompatibleMethodOverride]
    """The same for XGBoost, which tells of the beginning and the end too."""

    def before_training(self, model: Any) -> Any:
        return self._callback.before_training(model)

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        return False

    def after_training(self, model: Any) -> Any:
        return self._callback.after_training(model)


class AroundCatBoost(CatBoostCallback):
    """The same for CatBoost, which calls nobody: the clock is read as often as its files are."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0.0
        self.clock: list[tuple[float, float, float]] = []

    def follow(self, model: Any, given: Any) -> bool:
        began = time.thread_time()
        answer = super().follow(model, given)
        observed = gradtracer.run.open_run()
        tracker = observed.trackers[-1]
        look = tracker.before_report

        def looked() -> None:
            look()
            process, ours = time.process_time(), self.inside + time.thread_time()
            self.clock.append((observed.step, process, ours))

        tracker.before_report = looked
        self.inside += time.thread_time() - began
        return answer

    def finished(self, model: Any) -> None:
        began = time.thread_time()
        super().finished(model)
        self.inside += time.thread_time() - began


def around(library: str) -> Any:
    """A callback that counts what it costs."""
    if library == "catboost":
        return AroundCatBoost()
    callback = getattr(gradtracer, f"{library}_callback")()
    return AroundXGBoost(callback) if library == "xgboost" else Around(callback)


def share_of_ours(library: str, train: Callable[..., Any]) -> float:
    """CPU seconds in our callback and in threads other than this one, of all of a training."""
    process, thread, watched = time.process_time(), time.thread_time(), around(library)
    train(watched)
    finish()
    process, thread = time.process_time() - process, time.thread_time() - thread
    ours = watched.inside + process - thread
    return ours / (process - ours)


def stretches(clock: list[tuple[float, float, float]]) -> np.ndarray:
    """`[2, 5]` milliseconds of a round and of observing it, by stretch of 5,000 rounds."""
    ends = np.array([100, 1_000, 2_000, 3_000, 4_000, 5_000])
    rounds, *seconds = np.array(clock).T
    return np.array([1_000 * np.diff(np.interp(ends, rounds, each)) for each in seconds]) / np.diff(
        ends
    )


def flatness(examples: int, libraries: list[str]) -> None:
    """Cost of a round early and late in a long training."""
    x, y = data(examples, 50)
    print(f"\n5,000 rounds on {examples:,} x 50: CPU milliseconds of a round, and of observing it")
    print(f"{'':10} {'rounds':>10} {'100-1000':>9}   -2000   -3000   -4000   -5000")
    for library in libraries:
        watched = around(library)
        # So slow that the last trees have as much to do as the first.
        trainer(library, x, y, 5_000, rate=0.003)(watched)
        finish()
        whole, ours = stretches(watched.clock)
        for name, row in (("a round", whole), ("observing", ours)):
            told = " ".join(f"{value:7.3f}" for value in row)
            print(f"{library:10} {name:>10}   {told}")
        told = " ".join(f"{value:7.1%}" for value in ours / (whole - ours))
        print(f"{library:10} {'share':>10}   {told}", flush=True)


def post_hoc(repeats: int, libraries: list[str], python: Path | None) -> None:
    x, y = data(4_000, 20)
    folder = Path(tempfile.mkdtemp())
    print("\nreading and judging 5,000 trees of depth 6, CPU seconds: after the training with its")
    print(
        "metrics, and, as the original, the first model of a process, from a file; medians by turns"
    )
    print(f"{'':10} {'trained':>8} {'first':>7} {'original':>9} {'ratio':>7}")
    for library in libraries:
        # So slow that the last trees have as much to do, and as many leaves, as the first.
        model = trainer(library, x, y, 5_000, rate=0.003)()
        trained = spent(lambda: judge(model))  # noqa: B023
        path = folder / f"{library}{'.cbm' if library == 'catboost' else '.ubj'}"
        model.save_model(str(path))
        pairs = [
            [side(each, "read", library, path) for each in (OURS, python)] for _ in range(repeats)
        ]
        ours, theirs = (
            statistics.median(found["seconds"] if found else math.nan for found in column)
            for column in zip(*pairs, strict=True)
        )
        print(
            f"{library:10} {trained:>8.3f} {ours:>7.3f} {theirs:>9.2f} {theirs / ours:>6.1f}x",
            flush=True,
        )


def judge(model: Any) -> None:
    tracker = TreeDynamicsTracker(model)
    tracker.extract_dynamics()
    tracker.findings()


def side(python: Path | str | None, *words: object) -> dict[str, float]:
    """What `side_trees.py` prints in that environment; nothing where it failed or there is none."""
    if python is None:
        return {}
    try:
        return ask(python, SIDE, *words)
    except OriginalMissing as error:
        print(f"failed: {error}")
        return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--no-original", action="store_true", help="leave the original system out")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--only", choices=["overhead", "flatness", "post-hoc"])
    args = parser.parse_args()
    python = None
    if not args.no_original:
        try:
            python = original_python()
        except OriginalMissing as error:
            print(f"the original system is left out: {error}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADTRACER_FOLDER"] = folder
        if args.only in (None, "post-hoc"):
            post_hoc(args.repeats, args.libraries, python)
        if args.only in (None, "flatness"):
            flatness(args.examples, args.libraries)
        if args.only in (None, "overhead"):
            overhead(args, python)


if __name__ == "__main__":
    main()
