"""A hint says the most in thirty characters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_factory import RunFactory

from gradtracer_schemas import LayerWatched, Observation, Progress
from gradtracer_server.render import hint, live_view, plots
from gradtracer_server.render.figures import is_known
from gradtracer_server.render.hint import MOST, fitting, layers_hint, run_hint
from gradtracer_server.runs import LayerState, Run


def state(shape: list[int], **values: float) -> LayerState:
    watched = LayerWatched(layer="item_emb", type="Embedding", shape=shape, dtype="", device="")
    return LayerState(watched, Observation(layer="item_emb", values=values), 100)


@pytest.fixture
def run(project: RunFactory) -> Run:
    run = Run(project.start().folder)
    run.catch_up()
    return run


def test_a_table_tells_its_rank_and_its_coverage(run: Run) -> None:
    table = state([1000, 64], effective_rank=1.9, seen_rows=910, gini=0.6)
    assert layers_hint([table], run) == "rank 1.90/64, 91 % seen"
    assert layers_hint([state([1000, 64])], run) == "not measured yet"


def test_a_layer_of_an_unknown_kind_tells_what_it_has(run: Run) -> None:
    assert layers_hint([state([3, 4], gradient_snr=0.021, zeal=2)], run) == "SNR 0.021"
    assert layers_hint([state([3, 4], a_very_long_statistic_of_tomorrow=2.5)], run) == (
        "a_very_long_stati… 2.50"
    )


def test_a_layer_tells_its_units_and_its_pace_and_no_raw_names(run: Run) -> None:
    linear = state([3, 4], steps=96, grad_nonfinite=0, units=4, dead_units=3, update_ratio=0.0047)
    assert layers_hint([linear], run) == "3 dead units, update 0.0047"
    calm = state([3, 4], steps=96, dead_units=0, update_ratio=0.0047, gradient_snr=0.021)
    assert layers_hint([calm], run) == "update 0.0047, SNR 0.021"
    assert layers_hint([state([3, 4], steps=96, grad_nonfinite=0)], run) == "not measured yet"


@pytest.mark.parametrize(
    "names",
    [
        [name for name, _ in (*hint._UNITS, *hint._WORDS)],
        live_view._FIGURES,
        [plots._SNR],
    ],
)
def test_every_statistic_that_is_looked_for_is_one_that_is_known(names: Sequence[str]) -> None:
    assert [name for name in names if not is_known(name)] == []


def test_layers_of_a_loop_are_counted(run: Run) -> None:
    tables = [state([10, 4], effective_rank=rank) for rank in (3.14, 1.5, 3.9)]
    assert layers_hint(tables, run) == "3 layers, rank 1.50 to 3.90"


@pytest.mark.parametrize(
    ("metrics", "loss", "said"),
    [
        ({"train-logloss": 0.1, "val-logloss": 0.231}, 0.231, "round 412/1,000, val 0.231"),
        ({"val_ndcg": 0.5, "val_hit_rate": 0.7}, 0.231, "round 412/1,000, val 0.500"),
        ({"valid_0_auc": 0.9}, None, "round 412/1,000, valid 0.900"),
        ({"validation_0-rmse": 1.25}, 0.231, "round 412/1,000, val 1.25"),
        ({"train-rmse": 0.5}, 0.4, "round 412/1,000, loss 0.400"),
        ({"learn": 0.5}, None, "round 412/1,000, learn 0.500"),
        ({}, None, "round 412/1,000"),
    ],
)
def test_a_training_call_tells_its_rounds(
    run: Run, metrics: dict[str, float], loss: float | None, said: str
) -> None:
    run.progress = Progress(step=412, total_steps=1000, loss=loss, metrics=metrics)
    assert layers_hint([state([], trees=412)], run) == said


def test_a_run_tells_its_step_and_then_how_it_ended(project: RunFactory) -> None:
    writer = project.start()
    writer.progress(step=1234, total_steps=5000)
    run = Run(writer.folder)
    run.catch_up()
    assert run_hint(run) == "step 1,234/5,000, loss 0.420"
    writer.end("failed")
    run.catch_up()
    assert run_hint(run) == "failed, loss 0.420"


@given(st.lists(st.text(max_size=40), max_size=5))
def test_nothing_is_longer_than_it_may_be(parts: list[str]) -> None:
    assert len(fitting(parts)) <= MOST
