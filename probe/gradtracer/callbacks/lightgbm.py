"""LightGBM's callback: `lgb.train(..., callbacks=[gradtracer.lightgbm_callback()])`."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, cast

from gradtracer.analyzers import tree_lightgbm
from gradtracer.analyzers.booster import Read, Snapshot
from gradtracer.analyzers.booster_facts import BoosterFacts, Sample
from gradtracer.analyzers.tree_sample import last_sample, sample_of
from gradtracer.callbacks.boosting import Boosting
from gradtracer.callbacks.library_frames import LibraryFrames
from gradtracer.diagnoses.booster_parameters import canonical
from gradtracer.exceptions import MissingLibrary
from gradtracer_schemas import SourceSite

try:
    import lightgbm as _lightgbm
except ImportError as error:
    raise MissingLibrary(
        f"gradtracer.lightgbm_callback needs LightGBM, which cannot be imported ({error}): "
        'pip install "gradtracer[trees]"'
    ) from None

del _lightgbm


class GradTracerCallback:
    """Observes `lgb.train`, `lgb.cv` and the estimators, from their first round to their last.

    In cross-validation the metrics are the means over the folds, the trees those of the first.

    Args:
        settings: fields of `gradtracer.settings.Settings`.

    Raises:
        SettingsError: a setting with an unknown name or a value that does not fit.
    """

    order = 25
    """Before `early_stopping` (30), which ends the round by an exception."""
    before_iteration = False

    def __init__(
        self, *, site: SourceSite | None = None, automatic: bool = False, **settings: object
    ) -> None:
        self._boosting = Boosting(settings, site, automatic=automatic)
        self._series: dict[str, dict[str, Sequence[object]]] = {}

    def __call__(self, env: Any) -> None:
        """After each round."""
        if env.iteration == env.begin_iteration:
            self._begin(env)
        if not self._boosting.active:
            return
        for told in env.evaluation_result_list or ():
            # By index: LightGBM's own way to go through one asks for each of its fields by name.
            values = self._series.setdefault(str(told[0]), {}).setdefault(str(told[1]), [])
            cast(list[object], values).append(float(told[2]))
        copy, rounds = _Copy(env.model), env.iteration + 1
        if rounds < env.end_iteration:
            self._boosting.rounds_done(rounds, self._series, copy)
        else:
            self._boosting.end(rounds, copy)

    def _begin(self, env: Any) -> None:
        frames = LibraryFrames("lightgbm")
        if frames.local("return_model", "_train_part") is False:
            # Of the workers of a cluster the one whose model is kept tells of all.
            return
        self._series = {}
        try:
            facts = _facts(env, frames)
        except Exception:
            facts = BoosterFacts("lightgbm", "Booster")
        self._boosting.begin(facts, frames)
        model = weakref.ref(env.model)
        self._boosting.at_the_end(lambda: _what_is_there(model()))


def _what_is_there(model: Any) -> tuple[int, Snapshot] | None:
    """The rounds of a model whose training has ended early, if the model is still there."""
    if model is None:
        return None
    return int(_booster(model).current_iteration()), _Copy(model)


class _Copy:
    """Copies rounds out of a booster, as text that another thread unpacks."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, first: int, end: int) -> Read:
        booster = _booster(self._model)
        text = booster.model_to_string(start_iteration=first, num_iteration=end - first)
        names = list(booster.feature_name())
        return lambda: ([tree_lightgbm.unpack(text, first)], names)


def _booster(model: Any) -> Any:
    folds = getattr(model, "boosters", None)
    return model if folds is None else folds[0]


def _facts(env: Any, frames: LibraryFrames) -> BoosterFacts:
    estimator = frames.local("self", "fit")
    others = [type(each).__name__ for each in frames.local("callbacks", "train", "cv") or ()]
    given = {**env.params, "num_boost_round": env.end_iteration - env.begin_iteration}
    found = canonical(given)
    return BoosterFacts(
        library="lightgbm",
        kind=type(_booster(env.model) if estimator is None else estimator).__name__,
        total_rounds=env.end_iteration,
        first_round=env.begin_iteration,
        parameters=found,
        stops_early="_EarlyStoppingCallback" in others or found.get("early_stopping_rounds", 0) > 0,
        rescales="dart" in (env.params.get("boosting"), env.params.get("boosting_type")),
        training=getattr(env.model, "_train_data_name", None),
        sample=_sample(frames),
        held_out=_held_out(frames),
    )


def _sample(frames: LibraryFrames) -> Sample | None:
    x, y = frames.local("X", "fit"), frames.local("y", "fit")
    if x is None or y is None:
        data = frames.local("train_set", "train", "cv")
        x, y = getattr(data, "data", None), getattr(data, "label", None)
    return None if x is None or y is None else sample_of(x, y)


def _held_out(frames: LibraryFrames) -> Sample | None:
    pairs = frames.local("eval_set", "fit")
    if pairs is not None:
        return last_sample(pairs)
    given = frames.local("valid_sets", "train")
    last = given[-1] if isinstance(given, list) and given else given
    return last_sample((getattr(last, "data", None), getattr(last, "label", None)))
