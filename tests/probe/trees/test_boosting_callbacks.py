"""The callbacks in real trainings of the three libraries: what the journal holds afterwards."""

from __future__ import annotations

import copy
import logging
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from boosting_journal import Journal

import gradtracer
from gradtracer import MissingLibrary, NothingToWatch, SettingsError
from gradtracer.analyzers.booster import BoosterTracker
from gradtracer_schemas import (
    DiagnosisRaisedEvent,
    ObservationEvent,
    RunEndedEvent,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
Y = X[:, 0] + X[:, 1] * X[:, 2] + 0.2 * RNG.normal(size=600)
LABEL = (Y > 0).astype(int)
CLASSES = np.digitize(Y, [-0.7, 0.7])
XGB = {"max_depth": 3, "nthread": 1}
LGB = {"verbose": -1, "num_threads": 1, "num_leaves": 7}
CAT = {"depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}


def line_of_call(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_xgboost_training_is_told_from_its_call_to_its_end(journal: Journal) -> None:
    data, valid = xgboost.DMatrix(X[:300], Y[:300]), xgboost.DMatrix(X[300:], Y[300:])
    income_model = xgboost.train(  # the call
        {**XGB, "eta": 0.2},
        data,
        40,
        evals=[(valid, "valid"), (data, "fitted")],
        verbose_eval=False,
        callbacks=[gradtracer.xgboost_callback()],
    )
    assert income_model.num_boosted_rounds() == 40
    watched = journal.watched
    assert (watched.layer, watched.type) == ("income_model", "Booster")
    assert watched.site.frames[0].start_line == line_of_call("# the call")
    assert watched.site.frames[0].text.startswith("income_model = xgboost.train(")
    assert watched.settings["learning_rate"] == 0.2
    assert watched.settings["num_boost_round"] == 40
    assert (journal.progress.step, journal.progress.total_steps) == (40, 40)
    assert journal.progress.metrics.keys() == {"valid-rmse", "fitted-rmse"}
    assert journal.progress.loss == journal.progress.metrics["valid-rmse"]
    figures = journal.figures
    assert (figures.values["rounds"], figures.values["trees"]) == (40, 40)
    # Which data set is trained on is known by identity, whatever it is called.
    assert figures.values["training"] == pytest.approx(journal.progress.metrics["fitted-rmse"])
    assert figures.curves["leaf_velocity"][0] == 1.0
    assert journal.outcome == "finished"


def test_lightgbm_training_is_told_from_its_call_to_its_end(journal: Journal) -> None:
    data = lightgbm.Dataset(X[:300], Y[:300])
    booster = lightgbm.train(
        {**LGB, "learning_rate": 0.2},
        data,
        40,
        valid_sets=[data, data.create_valid(X[300:], Y[300:])],
        callbacks=[gradtracer.lightgbm_callback()],
    )
    assert booster.current_iteration() == 40
    assert (journal.watched.layer, journal.watched.settings["learning_rate"]) == ("booster", 0.2)
    assert (journal.progress.step, journal.progress.total_steps) == (40, 40)
    assert journal.progress.metrics.keys() == {"training-l2", "valid_1-l2"}
    assert journal.figures.values["rounds"] == 40
    assert journal.outcome == "finished"


def test_catboost_metrics_are_live_and_its_trees_read_when_fit_has_returned(
    journal: Journal,
) -> None:
    model = catboost.CatBoostRegressor(iterations=40, learning_rate=0.2, **CAT)
    model.fit(
        X[:300], Y[:300], eval_set=(X[300:], Y[300:]), callbacks=[gradtracer.catboost_callback()]
    )
    journal.wait()
    assert (journal.watched.layer, journal.watched.type) == ("model", "CatBoostRegressor")
    assert journal.watched.settings["num_boost_round"] == 40
    assert journal.progress.metrics.keys() == {"learn-RMSE", "validation-RMSE"}
    assert journal.figures.values["rounds"] == model.tree_count_
    assert journal.outcome == "finished"


@pytest.mark.parametrize("files", [False, True])
def test_catboost_tells_the_rounds_it_trained_beside_those_it_keeps(
    journal: Journal, files: bool, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).normal(size=600)
    given = {**CAT, "allow_writing_files": files, "train_dir": str(tmp_path / "info")}
    model = catboost.CatBoostRegressor(iterations=60, learning_rate=0.5, **given)
    model.fit(
        X[:300],
        noise[:300],
        eval_set=(X[300:], noise[300:]),
        callbacks=[gradtracer.catboost_callback()],
    )
    journal.wait()
    assert model.tree_count_ < 60
    assert journal.figures.values["rounds"] == model.tree_count_
    assert (journal.progress.step, journal.progress.total_steps) == (60, 60)


def test_rounds_stopped_early_are_read_to_the_last(journal: Journal) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=500, n_jobs=1, verbose=-1)
    noise = RNG.normal(size=600)
    model.fit(
        X[:300],
        noise[:300],
        eval_X=X[300:],
        eval_y=noise[300:],
        callbacks=[lightgbm.early_stopping(5, verbose=False), gradtracer.lightgbm_callback()],
    )
    journal.wait()
    rounds = model.booster_.current_iteration()
    assert rounds < 500
    assert journal.figures.values["rounds"] == rounds
    assert journal.progress.step == rounds + 5
    assert "OVERFITTING_ROUNDS" not in journal.raised


def test_xgboost_stopped_early_ends_its_run_at_once(journal: Journal) -> None:
    noise = RNG.normal(size=600)
    model = xgboost.XGBRegressor(
        n_estimators=500,
        early_stopping_rounds=5,
        n_jobs=1,
        callbacks=[gradtracer.xgboost_callback()],
    )
    model.fit(X[:300], noise[:300], eval_set=[(X[300:], noise[300:])], verbose=False)
    assert journal.outcome == "finished"
    assert journal.figures.values["rounds"] == model.get_booster().num_boosted_rounds()
    assert "OVERFITTING_ROUNDS" not in journal.raised


def test_overfitting_is_raised_with_the_call_as_its_place(journal: Journal) -> None:
    noise = RNG.normal(size=600)
    data, valid = xgboost.DMatrix(X[:300], noise[:300]), xgboost.DMatrix(X[300:], noise[300:])
    xgboost.train(
        {**XGB, "eta": 0.3},
        data,
        80,
        evals=[(data, "train"), (valid, "valid")],
        verbose_eval=False,
        callbacks=[gradtracer.xgboost_callback()],
    )
    (raised,) = [e.body for e in journal.events if isinstance(e, DiagnosisRaisedEvent)]
    assert raised.type == "OVERFITTING_ROUNDS"
    assert raised.site == journal.watched.site
    assert raised.fixes[0].fix == "edit-booster-parameter"


@pytest.mark.parametrize("by_name", [False, True])
def test_early_stopping_by_the_training_data_hides_no_overfitting(
    journal: Journal, by_name: bool
) -> None:
    noise = np.random.default_rng(1).normal(size=600)
    data, valid = (xgboost.DMatrix(X[part], noise[part]) for part in (slice(300), slice(300, 600)))
    early = xgboost.callback.EarlyStopping(rounds=5, data_name="valid" if by_name else None)
    booster = xgboost.train(
        {**XGB, "eta": 0.3, "max_depth": 6},
        data,
        150,
        evals=[(valid, "valid"), (data, "fitted")],
        verbose_eval=False,
        callbacks=[early, gradtracer.xgboost_callback()],
    )
    assert (booster.num_boosted_rounds() == 150) is not by_name
    assert ("OVERFITTING_ROUNDS" in journal.raised) is not by_name


def test_a_leak_is_proven_on_the_examples_at_hand(journal: Journal) -> None:
    leaky = pd.DataFrame(X, columns=list("abcde")).assign(refund=LABEL + 0.01 * X[:, 0])
    model = xgboost.XGBClassifier(
        n_estimators=20, n_jobs=1, callbacks=[gradtracer.xgboost_callback()]
    )
    model.fit(leaky, LABEL)
    (raised,) = [e.body for e in journal.events if isinstance(e, DiagnosisRaisedEvent)]
    assert raised.type == "TARGET_LEAKAGE"
    assert raised.premise.startswith("refund holds")
    assert raised.evidence[1].statistic == "explained_alone"


@pytest.mark.parametrize(
    ("more", "y", "trees"),
    [
        ({"objective": "multi:softprob", "num_class": 3}, CLASSES, 60),
        ({"booster": "dart", "rate_drop": 0.3}, Y, 20),
        ({"objective": "rank:ndcg"}, LABEL, 20),
        ({"tree_method": "exact", "gamma": 1.0}, Y, 20),
    ],
)
def test_other_kinds_of_xgboost_training(
    journal: Journal, more: dict[str, Any], y: np.ndarray, trees: int
) -> None:
    data = xgboost.DMatrix(X, y, group=[100] * 6 if "rank:ndcg" in more.values() else None)
    booster = xgboost.train({**XGB, **more}, data, 20, callbacks=[gradtracer.xgboost_callback()])
    assert journal.figures.values["trees"] == trees
    tracker = gradtracer.TreeDynamicsTracker(booster)
    assert journal.figures.values["leaf_velocity"] == pytest.approx(tracker.figures.velocity[-1])


@pytest.mark.parametrize(
    ("more", "y", "trees"),
    [
        ({"objective": "multiclass", "num_class": 3}, CLASSES, 60),
        ({"boosting": "dart", "drop_rate": 0.5}, Y, 20),
        ({"objective": "lambdarank"}, LABEL, 20),
    ],
)
def test_other_kinds_of_lightgbm_training(
    journal: Journal, more: dict[str, Any], y: np.ndarray, trees: int
) -> None:
    data = lightgbm.Dataset(X, y, group=[100] * 6 if "lambdarank" in more.values() else None)
    booster = lightgbm.train({**LGB, **more}, data, 20, callbacks=[gradtracer.lightgbm_callback()])
    assert journal.figures.values["trees"] == trees
    tracker = gradtracer.TreeDynamicsTracker(booster)
    assert journal.figures.values["leaf_velocity"] == pytest.approx(tracker.figures.velocity[-1])


def test_a_training_that_is_continued_tells_of_its_own_rounds(journal: Journal) -> None:
    data = xgboost.DMatrix(X, Y)
    first = xgboost.train(XGB, data, 10)
    xgboost.train(XGB, data, 15, xgb_model=first, callbacks=[gradtracer.xgboost_callback()])
    assert (journal.progress.step, journal.progress.total_steps) == (25, 25)
    assert journal.figures.values["trees"] == 15


def test_cross_validation_shows_the_means_over_its_folds(journal: Journal) -> None:
    scores = xgboost.cv(
        XGB, xgboost.DMatrix(X, Y), 12, nfold=3, callbacks=[gradtracer.xgboost_callback()]
    )
    assert journal.progress.metrics["test-rmse"] == pytest.approx(scores["test-rmse-mean"].iloc[-1])
    assert journal.figures.values["rounds"] == 12


def test_cross_validation_of_lightgbm_does_too(journal: Journal) -> None:
    scores = lightgbm.cv(
        LGB,
        lightgbm.Dataset(X, Y),
        12,
        nfold=3,
        stratified=False,
        callbacks=[gradtracer.lightgbm_callback()],
    )
    assert journal.progress.metrics["valid-l2"] == pytest.approx(scores["valid l2-mean"][-1])
    assert journal.figures.values["rounds"] == 12


ESTIMATORS: list[tuple[Callable[[], Any], np.ndarray]] = [
    (lambda: xgboost.XGBRegressor(n_estimators=12, n_jobs=1), Y),
    (lambda: xgboost.XGBClassifier(n_estimators=12, n_jobs=1), LABEL),
    (lambda: lightgbm.LGBMRegressor(n_estimators=12, n_jobs=1, verbose=-1), Y),
    (lambda: lightgbm.LGBMClassifier(n_estimators=12, n_jobs=1, verbose=-1), LABEL),
    (lambda: catboost.CatBoostRegressor(iterations=12, **CAT), Y),
    (lambda: catboost.CatBoostClassifier(iterations=12, **CAT), LABEL),
]


@pytest.mark.parametrize(("make", "y"), ESTIMATORS)
def test_an_estimator_given_to_watch_is_observed_when_it_is_fitted(
    journal: Journal, make: Callable[[], Any], y: np.ndarray
) -> None:
    model = make()
    run = gradtracer.watch(model)
    model.fit(X, y)
    run.finish()
    assert (journal.watched.layer, journal.watched.type) == ("model", type(model).__name__)
    assert journal.watched.site.frames[0].text == "model.fit(X, y)"
    assert journal.figures.values["rounds"] == 12
    assert journal.progress.step == 12


@pytest.mark.parametrize(("make", "y"), ESTIMATORS)
def test_a_watched_estimator_predicts_pickles_and_clones_as_before(
    journal: Journal, make: Callable[[], Any], y: np.ndarray
) -> None:
    from sklearn.base import clone

    alone, watched = make(), make()
    gradtracer.watch(watched)
    before = watched.get_params()
    alone.fit(X, y)
    watched.fit(X, y)
    np.testing.assert_array_equal(alone.predict(X), watched.predict(X))
    assert watched.get_params() == before
    restored = pickle.loads(pickle.dumps(watched))
    np.testing.assert_array_equal(restored.predict(X), alone.predict(X))
    assert not hasattr(clone(watched), "_gradtracer_watch")
    assert copy.deepcopy(watched).get_params() == before


def test_the_users_own_callbacks_are_kept(journal: Journal) -> None:
    seen: list[int] = []
    model = lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1)
    gradtracer.watch(model)
    model.fit(X, Y, callbacks=[lambda env: seen.append(env.iteration)])
    assert seen == [0, 1, 2, 3, 4]


def test_calls_one_after_the_other_are_runs_of_their_own(journal: Journal) -> None:
    for _ in range(2):
        model = catboost.CatBoostRegressor(iterations=5, **CAT)
        model.fit(X, Y, callbacks=[gradtracer.catboost_callback()])
    xgboost.train(XGB, xgboost.DMatrix(X, Y), 5, callbacks=[gradtracer.xgboost_callback()])
    assert len(journal.runs) == 3
    for events in journal.runs:
        assert isinstance(events[-1], RunEndedEvent)
        figures = [event.body for event in events if isinstance(event, ObservationEvent)][-1]
        assert figures.values["rounds"] == 5


def test_a_training_that_fails_leaves_the_next_one_alone(journal: Journal) -> None:
    class Breaks(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            raise RuntimeError("out of tea")

    data = xgboost.DMatrix(X, Y)
    with pytest.raises(RuntimeError, match="out of tea"):
        xgboost.train(XGB, data, 5, callbacks=[gradtracer.xgboost_callback(), Breaks()])
    xgboost.train(XGB, data, 5, callbacks=[gradtracer.xgboost_callback()])
    first, second = journal.runs
    assert isinstance(first[-1], RunEndedEvent)
    assert isinstance(second[-1], RunEndedEvent)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_a_fault_of_ours_switches_the_callback_off_and_training_goes_on(
    journal: Journal,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(BoosterTracker, "rounds_done", broken)
    callback = getattr(gradtracer, f"{library}_callback")()
    with caplog.at_level(logging.ERROR, "gradtracer"):
        if library == "xgboost":
            assert xgboost.train(XGB, xgboost.DMatrix(X, Y), 5, callbacks=[callback])
        elif library == "lightgbm":
            assert lightgbm.train(LGB, lightgbm.Dataset(X, Y), 5, callbacks=[callback])
        else:
            assert catboost.CatBoostRegressor(iterations=5, **CAT).fit(X, Y, callbacks=[callback])
    assert [record.message for record in caplog.records] == [
        "GradTracer's callback has switched itself off; training goes on"
    ]


def test_training_watched_and_alone_give_the_same_trees(journal: Journal) -> None:
    data = xgboost.DMatrix(X, Y)
    alone = xgboost.train(XGB, data, 20)
    watched = xgboost.train(XGB, data, 20, callbacks=[gradtracer.xgboost_callback()])
    assert alone.get_dump() == watched.get_dump()
    one = lightgbm.train(LGB, lightgbm.Dataset(X, Y), 20)
    other = lightgbm.train(
        LGB, lightgbm.Dataset(X, Y), 20, callbacks=[gradtracer.lightgbm_callback()]
    )
    assert one.model_to_string() == other.model_to_string()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_a_callback_can_be_pickled_and_copied(journal: Journal, library: str) -> None:
    callback = getattr(gradtracer, f"{library}_callback")()
    for other in (pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)):
        assert type(other) is type(callback)
    xgboost_copy = copy.deepcopy(gradtracer.xgboost_callback())
    xgboost.train(XGB, xgboost.DMatrix(X, Y), 3, callbacks=[xgboost_copy])
    assert journal.figures.values["rounds"] == 3


def test_a_constant_target_and_missing_values_are_observed(journal: Journal) -> None:
    holes = np.where(RNG.random(X.shape) < 0.3, np.nan, X)
    data = xgboost.DMatrix(holes, np.full(600, 2.5))
    xgboost.train(XGB, data, 50, callbacks=[gradtracer.xgboost_callback()])
    assert journal.figures.values["rounds"] == 50
    assert journal.outcome == "finished"


def test_a_constant_target_under_the_other_libraries(journal: Journal) -> None:
    flat = np.full(600, 2.5)
    data = lightgbm.Dataset(X, flat)
    lightgbm.train(
        {"verbose": -1, "num_threads": 1}, data, 5, callbacks=[gradtracer.lightgbm_callback()]
    )
    how = {"iterations": 5, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    # CatBoost refuses by itself, in its own words, and nothing of ours gets in between.
    with pytest.raises(catboost.CatBoostError, match="equal"):
        catboost.CatBoostRegressor(**how).fit(X, flat, callbacks=[gradtracer.catboost_callback()])
    allowed = catboost.CatBoostRegressor(**how, allow_const_label=True, bootstrap_type="No")
    run = gradtracer.watch(allowed)
    allowed.fit(X, flat)
    run.finish()
    for events in journal.runs:
        figures = [event.body for event in events if isinstance(event, ObservationEvent)][-1]
        assert figures.values.get("leaf_velocity", 0.0) == pytest.approx(0.0, abs=1e-6)
        assert not any(isinstance(event, DiagnosisRaisedEvent) for event in events)


def test_a_linear_booster_trains_on_and_the_run_says_that_it_has_no_trees(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        booster = xgboost.train(
            {"booster": "gblinear"},
            xgboost.DMatrix(X, Y),
            5,
            callbacks=[gradtracer.xgboost_callback()],
        )
    assert booster.num_boosted_rounds() == 5
    assert "has switched itself off" in caplog.text or "stopped reporting" in caplog.text


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_a_library_that_is_missing_is_named_with_the_extra(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"gradtracer.callbacks.{library}", raising=False)
    if library == "xgboost":
        monkeypatch.setitem(sys.modules, "xgboost.callback", None)
    with pytest.raises(MissingLibrary, match=r'pip install "gradtracer\[trees\]"'):
        getattr(gradtracer, f"{library}_callback")()


def test_a_setting_that_does_not_exist_is_refused_where_the_callback_is_made() -> None:
    with pytest.raises(SettingsError, match="unknown setting 'report_second'"):
        gradtracer.xgboost_callback(report_second=1)


def test_a_bare_booster_cannot_be_watched_and_the_words_say_what_can() -> None:
    with pytest.raises(NothingToWatch, match=r"callbacks=\[gradtracer.xgboost_callback\(\)\]"):
        gradtracer.watch(xgboost.Booster())
