"""XGBoost's callback: `xgb.train(..., callbacks=[gradtracer.xgboost_callback()])`."""

from __future__ import annotations

from typing import Any

from gradtracer.analyzers import tree_xgboost
from gradtracer.analyzers.booster import Read
from gradtracer.analyzers.booster_facts import BoosterFacts, Sample
from gradtracer.analyzers.metric_curves import is_training
from gradtracer.analyzers.tree_parameters import xgboost_parameters
from gradtracer.analyzers.tree_reading import xgboost_names
from gradtracer.analyzers.tree_sample import last_sample, matrix_sample, sample_of
from gradtracer.callbacks.boosting import Boosting
from gradtracer.callbacks.library_frames import LibraryFrames
from gradtracer.diagnoses.booster_parameters import canonical
from gradtracer.exceptions import MissingLibrary
from gradtracer_schemas import SourceSite

try:
    from xgboost import collective
    from xgboost.callback import TrainingCallback
except ImportError as error:
    raise MissingLibrary(
        f"gradtracer.xgboost_callback needs XGBoost, which cannot be imported ({error}): "
        'pip install "gradtracer[trees]"'
    ) from None

_Base: Any = TrainingCallback


class GradTracerCallback(_Base):
    """Observes `xgb.train`, `xgb.cv` and the estimators, from their first round to their last.

    In cross-validation the metrics are the means over the folds, the trees those of the first.

    Args:
        settings: fields of `gradtracer.settings.Settings`.

    Raises:
        SettingsError: a setting with an unknown name or a value that does not fit.
    """

    def __init__(
        self, *, site: SourceSite | None = None, automatic: bool = False, **settings: object
    ) -> None:
        super().__init__()
        self._boosting = Boosting(settings, site, automatic=automatic)

    def before_training(self, model: Any) -> Any:
        """Begin."""
        if collective.get_rank() == 0:
            frames = LibraryFrames("xgboost")
            try:
                facts = _facts(model, frames)
            except Exception:
                facts = BoosterFacts("xgboost", "Booster")
            self._boosting.begin(facts, frames)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Follow; never asks to stop."""
        if self._boosting.active:
            self._boosting.rounds_done(epoch + 1, evals_log, _Copy(model))
        return False

    def after_training(self, model: Any) -> Any:
        """End."""
        if self._boosting.active:
            booster = _booster(model)
            self._boosting.end(booster.num_boosted_rounds(), _Copy(model))
        return model


class _Copy:
    """Copies rounds out of a booster, as bytes that another thread unpacks."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, first: int, end: int) -> Read:
        booster = _booster(self._model)
        raw = booster[first:end].save_raw("ubj")
        names = xgboost_names(booster)
        return lambda: ([tree_xgboost.unpack(raw, first)], names)


def _booster(model: Any) -> Any:
    folds = getattr(model, "cvfolds", None)
    return model if folds is None else folds[0].bst


def _facts(model: Any, frames: LibraryFrames) -> BoosterFacts:
    booster = _booster(model)
    first = booster.num_boosted_rounds()
    planned = frames.local("num_boost_round", "train", "cv")
    estimator = frames.local("self", "fit")
    callbacks = frames.local("callbacks", "train", "cv") or ()
    stopping = [each for each in callbacks if type(each).__name__ == "EarlyStopping"]
    given = dict(xgboost_parameters(booster))
    if planned is not None:
        given["num_boost_round"] = planned
    data = frames.local("dtrain", "train", "cv")
    evals = frames.local("evals", "train") or ()
    return BoosterFacts(
        library="xgboost",
        kind=type(booster if estimator is None else estimator).__name__,
        total_rounds=None if planned is None else first + int(planned),
        first_round=first,
        parameters=canonical(given),
        stops_early=bool(stopping)
        or frames.local("early_stopping_rounds", "train", "cv") is not None,
        stops_by_training=_last_is_trained_on(evals, data)
        and not any(getattr(each, "data", None) for each in stopping),
        rescales='"dart' in booster.save_config(),
        named=getattr(data, "feature_names", True) is not None,
        training=next((name for matrix, name in evals if matrix is data), None),
        sample=_sample(frames, data),
        held_out=_held_out(frames, data, evals),
    )


def _last_is_trained_on(evals: Any, data: Any) -> bool:
    """Whether XGBoost, which stops by the last set unless it is told another, stops by training."""
    if not evals:
        return False
    matrix, name = evals[-1]
    return matrix is data or is_training(name)


def _sample(frames: LibraryFrames, matrix: Any) -> Sample | None:
    x, y = frames.local("X", "fit"), frames.local("y", "fit")
    if x is not None and y is not None:
        return sample_of(x, y)
    return None if matrix is None else matrix_sample(matrix)


def _held_out(frames: LibraryFrames, trained: Any, evals: Any) -> Sample | None:
    given = frames.local("eval_set", "fit")
    if given is not None:
        return last_sample(given)
    others = [matrix for matrix, _ in evals if matrix is not trained]
    return matrix_sample(others[-1]) if others else None
