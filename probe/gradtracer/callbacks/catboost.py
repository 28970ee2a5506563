"""CatBoost's callback: `model.fit(..., callbacks=[gradtracer.catboost_callback()])`.

CatBoost shows its callbacks metrics and no trees: the trees are read when the call of `fit` has
returned, each tree being its round. Where CatBoost writes its metrics to files, no callback is
passed on to it and the files are read (`catboost_fit.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradtracer.analyzers.booster import Read, Snapshot
from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer.analyzers.tree_parameters import parameters_of
from gradtracer.analyzers.tree_reading import read_model
from gradtracer.analyzers.tree_sample import last_sample, sample_of
from gradtracer.analyzers.trees import recorded_metrics
from gradtracer.callbacks.boosting import Boosting
from gradtracer.callbacks.catboost_files import MetricFiles
from gradtracer.callbacks.catboost_fit import take_callbacks_out
from gradtracer.callbacks.library_frames import GivenArguments, LibraryFrames
from gradtracer.exceptions import MissingLibrary
from gradtracer_schemas import SourceSite

try:
    from catboost import CatBoost
except ImportError as error:
    raise MissingLibrary(
        f"gradtracer.catboost_callback needs CatBoost, which cannot be imported ({error}): "
        'pip install "gradtracer[trees]"'
    ) from None

_USUAL_ROUNDS = 1_000
_TRAIN_DIR = "catboost_info"


class GradTracerCallback:
    """Observes `fit` of CatBoost, CatBoostClassifier, CatBoostRegressor and CatBoostRanker.

    Args:
        settings: fields of `gradtracer.settings.Settings`.

    Raises:
        SettingsError: a setting with an unknown name or a value that does not fit.
    """

    def __init__(
        self, *, site: SourceSite | None = None, automatic: bool = False, **settings: object
    ) -> None:
        self._boosting = Boosting(settings, site, automatic=automatic)
        self._files: MetricFiles | None = None
        take_callbacks_out(CatBoost, GradTracerCallback)

    def after_iteration(self, info: Any) -> bool:
        """After each round; never asks to stop."""
        if info.iteration == 1:
            self._begin()
        if self._boosting.active:
            self._boosting.rounds_done(int(info.iteration), info.metrics or {}, None)
        return True

    def follow(self, model: Any, given: Mapping[str, Any]) -> bool:
        """Observe a `fit` that is about to begin with these arguments, without being its callback.

        False where CatBoost would write no files: then its metrics are told to callbacks alone. On
        a GPU it takes no callbacks, so there only the trees are left to be read.
        """
        on_gpu = False
        try:
            parameters = model.get_params()
            on_gpu = parameters.get("task_type") == "GPU"
            writes = parameters.get("allow_writing_files") is not False
            if not writes and not on_gpu:
                return False
            arguments = GivenArguments(given)
            facts = _facts(model, arguments)
            folder = Path(parameters.get("train_dir") or _TRAIN_DIR).absolute()
        except Exception:
            return on_gpu
        self._files = MetricFiles(folder) if writes else None
        self._boosting.begin(facts, arguments, self._files)
        return True

    def finished(self, model: Any) -> None:
        """`fit` has returned: read the trees at once."""
        if self._boosting.active and model.is_fitted():
            self._boosting.look()
            if self._files is not None and self._files.shared:
                told = recorded_metrics(model)
                self._boosting.rounds_done(int(model.tree_count_), told, None)
            self._boosting.end(int(model.tree_count_), _Copy(model))

    def failed(self) -> None:
        """`fit` has raised."""
        if self._boosting.active:
            self._boosting.abandon()

    def _begin(self) -> None:
        frames = LibraryFrames("catboost")
        model = frames.local("self", "_fit", "fit")
        try:
            facts = _facts(model, frames)
        except Exception:
            facts = BoosterFacts("catboost", "CatBoost")
        self._boosting.begin(facts, frames)
        self._boosting.at_the_end(lambda: _what_is_there(model))


def _what_is_there(model: Any) -> tuple[int, Snapshot] | None:
    if model is None or not model.is_fitted():
        return None
    return int(model.tree_count_), _Copy(model)


class _Copy:
    """Reads a fitted model's trees, when asked to."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, first: int, end: int) -> Read:
        def read() -> Any:
            found = read_model(self._model)
            return found.tables, found.names

        return read


def _facts(model: Any, frames: LibraryFrames | GivenArguments) -> BoosterFacts:
    parameters, stops_early = parameters_of(model)
    given = model.get_params()
    validated = frames.local("eval_set", "_fit") is not None
    keeps_best = validated and given.get("use_best_model", True) is not False
    x, y = frames.local("X", "_fit"), frames.local("y", "_fit")
    return BoosterFacts(
        library="catboost",
        kind=type(model).__name__,
        total_rounds=int(parameters.get("num_boost_round", _USUAL_ROUNDS)),
        parameters=parameters,
        stops_early=stops_early or keeps_best,
        training="learn",
        sample=None if x is None or y is None else sample_of(x, y),
        held_out=last_sample(frames.local("eval_set", "_fit")),
    )
