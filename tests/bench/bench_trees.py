"""What it costs to observe boosted trees, and to read 5,000 of them; the original beside it.

    python tests/bench/bench_trees.py [--rounds 500] [--repeats 2] [--original SITE_PACKAGES]
        [--only overhead|flatness|post-hoc] [--libraries catboost]

Process CPU time of whole trainings on one thread, watched and alone by turns. `--original` names
the site-packages of an environment of its own that holds gradtracer 0.9.0: its import name is ours.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
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

import gradtracer
from gradtracer.analyzers.trees import TreeDynamicsTracker
from gradtracer.callbacks.catboost import GradTracerCallback as CatBoostCallback

warnings.filterwarnings("ignore")
logging.getLogger("gradtracer").setLevel(logging.ERROR)
LIBRARIES = ("xgboost", "lightgbm", "catboost")

ORIGINAL = """
import sys, time, statistics
sys.path.insert(0, sys.argv[1])
from gradtracer.analyzers.trees import TreeTracker
library, path = sys.argv[2:4]
if library == "xgboost":
    import xgboost
    model = xgboost.Booster(model_file=path)
elif library == "lightgbm":
    import lightgbm
    model = lightgbm.Booster(model_file=path)
else:
    import catboost
    model = catboost.CatBoostRegressor()
    model.load_model(path)
assert "site-packages" in TreeTracker.analyze.__code__.co_filename
began = time.process_time()
TreeTracker(model).analyze()
print(time.process_time() - began)
"""

TRAINS = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from gradtracer.analyzers.boosting import BoostingTracker
library, path, rounds = sys.argv[2], sys.argv[3], int(sys.argv[4])
held = np.load(path)
x, y, n = held["x"], held["y"], len(held["y"]) * 4 // 5
def train(callbacks):
    began = time.process_time()
    if library == "xgboost":
        import xgboost
        d, v = xgboost.DMatrix(x[:n], y[:n]), xgboost.DMatrix(x[n:], y[n:])
        xgboost.train({"max_depth": 6, "nthread": 1}, d, rounds, evals=[(d, "train"), (v, "valid")],
            verbose_eval=False, callbacks=callbacks)
    else:
        import lightgbm
        d = lightgbm.Dataset(x[:n], y[:n])
        lightgbm.train({"num_leaves": 63, "max_depth": 6, "num_threads": 1, "verbose": -1}, d,
            rounds, valid_sets=[d, d.create_valid(x[n:], y[n:])], callbacks=callbacks)
    return time.process_time() - began
tracker = BoostingTracker()
made = tracker.as_xgb_callback if library == "xgboost" else tracker.as_lgb_callback
train([])
alone = train([])
print(train([made()]) / alone - 1)
"""


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


class Empty(xgboost.callback.TrainingCallback):
    """A callback that does nothing: what a library asks for having any."""

    def after_iteration(self, *told: Any) -> bool:
        # CatBoost goes on where it is answered True, XGBoost stops there.
        return len(told) == 1

    def __call__(self, env: Any) -> None:
        pass


def overhead(args: argparse.Namespace) -> None:
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
        original = "-"
        if args.original and library != "catboost":
            original = run(TRAINS, args.original, library, str(held), str(args.rounds))
            original = f"{float(original):+.1%}" if original != "failed" else original
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


class AroundXGBoost(Around, xgboost.callback.TrainingCallback):
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


def post_hoc(original: str | None, libraries: list[str]) -> None:
    x, y = data(4_000, 20)
    folder = Path(tempfile.mkdtemp())
    print("\nreading and judging 5,000 trees of depth 6, CPU seconds")
    print(f"{'':10} {'ours':>7} {'original':>9} {'ratio':>7}")
    for library in libraries:
        # So slow that the last trees have as much to do, and as many leaves, as the first.
        model = trainer(library, x, y, 5_000, rate=0.003)()
        began = time.process_time()
        tracker = TreeDynamicsTracker(model)
        tracker.extract_dynamics()
        tracker.findings()
        ours = time.process_time() - began
        path = folder / f"{library}{'.cbm' if library == 'catboost' else '.ubj'}"
        model.save_model(str(path))
        theirs = run(ORIGINAL, original, library, str(path)) if original else "-"
        ratio = f"{float(theirs) / ours:6.1f}x" if theirs not in ("-", "failed") else ""
        shown = f"{float(theirs):.2f}" if ratio else theirs
        print(f"{library:10} {ours:>7.2f} {shown:>9} {ratio:>7}")


def run(program: str, *words: str) -> str:
    """What a program in an interpreter of its own prints last."""
    result = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    if result.returncode:
        print(result.stderr.splitlines()[-1], file=sys.stderr)
        return "failed"
    return result.stdout.split()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--original")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--only", choices=["overhead", "flatness", "post-hoc"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADTRACER_FOLDER"] = folder
        if args.only in (None, "post-hoc"):
            post_hoc(args.original, args.libraries)
        if args.only in (None, "flatness"):
            flatness(args.examples, args.libraries)
        if args.only in (None, "overhead"):
            overhead(args)


if __name__ == "__main__":
    main()
