"""One system's cost with boosted trees, in a process of its own: ours, or the original.

python side_trees.py read LIBRARY MODEL: CPU seconds to read and judge the first model of a process.
python side_trees.py train LIBRARY DATA ROUNDS: what the original's callback adds to a training.
Each prints one line of JSON. CatBoost is told nothing by the original while it trains.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

import gradtracer.analyzers.trees

TREES: Any = gradtracer.analyzers.trees


def load(library: str, path: str) -> Any:
    if library == "xgboost":
        import xgboost

        return xgboost.Booster(model_file=path)
    if library == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=path)
    import catboost

    return catboost.CatBoostRegressor().load_model(path)


def read(library: str, path: str) -> dict[str, float]:
    model = load(library, path)
    began = time.process_time()
    if hasattr(TREES, "TreeTracker"):
        TREES.TreeTracker(model).analyze()
    else:
        tracker = TREES.TreeDynamicsTracker(model)
        tracker.extract_dynamics()
        tracker.findings()
    return {"seconds": time.process_time() - began}


def train(library: str, path: str, rounds: str) -> dict[str, float]:
    from gradtracer.analyzers.boosting import (  # pyright: ignore[reportMissingImports]
        BoostingTracker,
    )

    held = np.load(path)
    x, y, n = held["x"], held["y"], len(held["y"]) * 4 // 5

    def once(callbacks: list[Any]) -> float:
        began = time.process_time()
        if library == "xgboost":
            import xgboost

            d, v = xgboost.DMatrix(x[:n], y[:n]), xgboost.DMatrix(x[n:], y[n:])
            how: dict[str, Any] = {"max_depth": 6, "nthread": 1}
            sets = [(d, "train"), (v, "valid")]
            xgboost.train(how, d, int(rounds), evals=sets, verbose_eval=False, callbacks=callbacks)
        else:
            import lightgbm

            d = lightgbm.Dataset(x[:n], y[:n])
            how = {"num_leaves": 63, "max_depth": 6, "num_threads": 1, "verbose": -1}
            sets = [d, d.create_valid(x[n:], y[n:])]
            lightgbm.train(how, d, int(rounds), valid_sets=sets, callbacks=callbacks)
        return time.process_time() - began

    tracker = BoostingTracker()
    made = tracker.as_xgb_callback if library == "xgboost" else tracker.as_lgb_callback
    once([])
    alone = once([])
    return {"share": once([made()]) / alone - 1}


print(json.dumps({"read": read, "train": train}[sys.argv[1]](*sys.argv[2:])))
