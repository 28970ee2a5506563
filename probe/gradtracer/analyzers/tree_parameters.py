"""The parameters that a booster or estimator was trained with, as it tells them itself."""

from __future__ import annotations

import json
from typing import Any

from gradtracer.analyzers.tree_reading import library_of
from gradtracer.diagnoses.booster_parameters import canonical


def parameters_of(model: Any) -> tuple[dict[str, float], bool]:
    """Numbers under our names, and whether the library stops early by itself."""
    given: dict[str, object] = {}
    try:
        given = _READERS[library_of(model) or ""](model)
    except Exception:  # a model may be half of anything; what is not known is left out
        given = {}
    found = canonical(given)
    return found, found.get("early_stopping_rounds", 0) > 0


def xgboost_parameters(booster: Any) -> dict[str, object]:
    """From the booster's configuration."""
    learner = json.loads(booster.save_config())["learner"]
    gbm = learner.get("gradient_booster", {})
    gbm = gbm.get("gbtree", gbm)
    return dict(gbm.get("tree_train_param") or gbm.get("updater", {}).get("train_param") or {})


def _xgboost(model: Any) -> dict[str, object]:
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    given = xgboost_parameters(booster)
    if hasattr(model, "get_xgb_params"):
        given |= {
            "n_estimators": model.get_num_boosting_rounds(),
            "early_stopping_rounds": model.early_stopping_rounds,
        }
    return given


def _lightgbm(model: Any) -> dict[str, object]:
    booster = model.booster_ if hasattr(type(model), "booster_") else model
    return dict(booster.params) | (dict(model.get_params()) if booster is not model else {})


def _catboost(model: Any) -> dict[str, object]:
    known = model.get_all_params() if model.is_fitted() else {}
    return {**known, **model.get_params()}


_READERS: dict[str, Any] = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}
