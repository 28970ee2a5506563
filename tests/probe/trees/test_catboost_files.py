"""A `fit` of CatBoost is followed by the files it writes, and gets no callback of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest
from catboost.core import CatBoostError

import gradtracer
from gradtracer.callbacks.catboost import GradTracerCallback
from gradtracer.callbacks.catboost_files import MetricFiles
from gradtracer.callbacks.estimators import add_callback
from gradtracer.run import open_run
from gradtracer_schemas import ObservationEvent, ProgressEvent, decode_event

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4))
Y = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * RNG.normal(size=600)
QUIET = {"verbose": 0, "thread_count": 1, "depth": 3, "learning_rate": 0.2}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADTRACER_FOLDER", str(tmp_path))
    monkeypatch.setenv("GRADTRACER_PUBLISH", "false")
    return tmp_path


class Callbacks:
    """What CatBoost was asked to call back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed: list[Any] = []
        prepare = catboost.CatBoost._prepare_train_params

        def noted(model: Any, **given: Any) -> Any:
            self.passed.append(given["callbacks"])
            return prepare(model, **given)

        monkeypatch.setattr(catboost.CatBoost, "_prepare_train_params", noted)


def events(folder: Path) -> list[Any]:
    (journal,) = folder.glob(".gradtracer/runs/*/events.jsonl")
    return [decode_event(line) for line in journal.read_bytes().splitlines()]


@pytest.mark.parametrize(("watched", "writes"), [(True, True), (True, False), (False, True)])
def test_only_a_fit_that_writes_no_files_gets_a_callback(
    here: Path, monkeypatch: pytest.MonkeyPatch, watched: bool, writes: bool
) -> None:
    asked = Callbacks(monkeypatch)
    model = catboost.CatBoostRegressor(iterations=30, allow_writing_files=writes, **QUIET)
    run = gradtracer.watch(model) if watched else None
    ours = None if watched else [gradtracer.catboost_callback()]
    model.fit(X[:400], Y[:400], eval_set=(X[400:], Y[400:]), callbacks=ours)
    if run is not None:
        run.finish()
    assert open_run() is None
    assert [given is None for given in asked.passed] == [writes]
    told = events(here)
    progress = [event.body for event in told if isinstance(event, ProgressEvent)][-1]
    assert progress.metrics.keys() == {"learn-RMSE", "validation-RMSE"}
    recorded = model.evals_result_
    for data in ("learn", "validation"):
        assert progress.metrics[f"{data}-RMSE"] == pytest.approx(recorded[data]["RMSE"][-1])
    figures = [event.body for event in told if isinstance(event, ObservationEvent)][-1]
    assert figures.values["rounds"] == model.tree_count_
    assert figures.values["best_round"] == pytest.approx(
        np.argmin(recorded["validation"]["RMSE"]) + 1
    )


class Counts:
    """Somebody else's callback."""

    def __init__(self) -> None:
        self.rounds = 0

    def after_iteration(self, _: Any) -> bool:
        self.rounds += 1
        return True


def test_callbacks_of_others_stay_and_ours_is_used_again(here: Path) -> None:
    ours, theirs = gradtracer.catboost_callback(), Counts()
    for done in (1, 2):
        model = catboost.CatBoostRegressor(iterations=7, **QUIET)
        model.fit(X, Y, callbacks=[ours, theirs])
        assert theirs.rounds == 7 * done
        assert open_run() is None
    journals = list(here.glob(".gradtracer/runs/*/events.jsonl"))
    assert len(journals) == 2


def test_several_sets_and_metrics_are_called_as_catboost_calls_them(here: Path) -> None:
    files = MetricFiles(here / "catboost_info")
    model = catboost.CatBoostRegressor(iterations=12, custom_metric=["MAE"], **QUIET)
    model.fit(X[:300], Y[:300], eval_set=[(X[300:450], Y[300:450]), (X[450:], Y[450:])])
    files.read()
    assert files.rounds == 12
    recorded = model.evals_result_
    assert files.series.keys() == recorded.keys()
    for data, metrics in recorded.items():
        assert files.series[data].keys() == metrics.keys()
        for metric, values in metrics.items():
            assert files.series[data][metric] == pytest.approx(values)


def test_what_an_earlier_training_left_is_not_read(here: Path) -> None:
    folder = here / "catboost_info"
    catboost.CatBoostRegressor(iterations=9, **QUIET).fit(X, Y)
    files = MetricFiles(folder)
    files.read()
    assert (files.rounds, files.series) == (0, {})
    catboost.CatBoostRegressor(iterations=5, **QUIET).fit(X, Y)
    files.read()
    assert files.rounds == len(files.series["learn"]["RMSE"]) == 5


def test_a_line_that_is_being_written_is_read_when_it_is_whole(here: Path) -> None:
    files = MetricFiles(here)
    path = here / "learn_error.tsv"
    path.write_text("iter\tRMSE\n0\t1.5\n1\t1.", encoding="utf-8")
    files.read()
    assert files.series == {"learn": {"RMSE": [1.5]}}
    with path.open("a", encoding="utf-8") as file:
        file.write("25\n")
    files.read()
    files.read()
    assert files.series == {"learn": {"RMSE": [1.5, 1.25]}}


@pytest.mark.parametrize("theirs", ["\0\0\0\0\n", "0\t9.5\n", "2\tnothing\n"])
def test_what_another_training_writes_there_too_is_not_taken_for_this_ones(
    here: Path, theirs: str
) -> None:
    files = MetricFiles(here)
    path = here / "learn_error.tsv"
    path.write_text("iter\tRMSE\n0\t1.5\n1\t1.25\n", encoding="utf-8")
    files.read()
    assert not files.shared
    with path.open("a", encoding="utf-8") as file:
        file.write(theirs)
    files.read()
    assert files.shared
    assert files.series == {"learn": {"RMSE": [1.5, 1.25]}}


def test_metrics_of_a_folder_that_is_shared_are_the_models_own_in_the_end(here: Path) -> None:
    folder = here / "catboost_info"

    class Disturbs:
        def after_iteration(self, told: Any) -> bool:
            if told.iteration == 10:
                with (folder / "learn_error.tsv").open("a", encoding="utf-8") as file:
                    file.write("nobody's\n")
            return True

    model = catboost.CatBoostRegressor(iterations=30, **QUIET)
    run = gradtracer.watch(model)
    model.fit(X, Y, callbacks=[Disturbs()])
    run.finish()
    progress = [event.body for event in events(here) if isinstance(event, ProgressEvent)][-1]
    assert progress.metrics["learn-RMSE"] == pytest.approx(model.evals_result_["learn"]["RMSE"][-1])


def test_a_fit_that_raises_does_so_and_leaves_the_run_to_be_finished(here: Path) -> None:
    model = catboost.CatBoostRegressor(iterations=5, **QUIET)
    run = gradtracer.watch(model)
    with pytest.raises(CatBoostError, match="equal"):
        model.fit(X, np.full(600, 2.5))
    assert open_run() is run
    run.finish()
    assert type(events(here)[-1]).__name__ == "RunEndedEvent"


class OnGpu:
    """As much of a model that trains on a GPU as is asked for before it trains."""

    def __init__(self, train_dir: object = None) -> None:
        self._given = {"task_type": "GPU", "train_dir": train_dir, "iterations": 5}

    def get_params(self) -> dict[str, Any]:
        return self._given


@pytest.mark.parametrize(("train_dir", "observed"), [(None, True), (5, False)])
def test_no_callback_is_passed_to_a_gpu_which_would_refuse_it(
    here: Path, train_dir: object, observed: bool
) -> None:
    given: dict[str, Any] = {"X": X, "y": Y}
    add_callback(given, GradTracerCallback(), OnGpu(train_dir))
    run = open_run()
    assert (run is not None) == observed
    if run is not None:
        run.finish()
    assert "callbacks" not in given


def test_files_that_nobody_can_read_tell_nothing(here: Path) -> None:
    files = MetricFiles(here / "nowhere")
    files.read()
    (here / "nowhere").mkdir()
    (here / "nowhere" / "learn_error.tsv").mkdir()
    files.read()
    assert files.series == {}
