"""What changed since the run before is said in a line, and only what changed."""

from __future__ import annotations

import pytest

from gradtracer_server.earlier import EarlierRun
from gradtracer_server.history import History
from gradtracer_server.render.change import moment, since_last_run, trends


def history(**series: list[float]) -> History:
    made = History()
    for index, row in enumerate(zip(*series.values(), strict=True)):
        made.add(100 * (index + 1), dict(zip(series, row, strict=True)))
    return made


def earlier(history: History, **raised: int) -> EarlierRun:
    return EarlierRun(
        "a-run", None, "finished", 1000, {"item_emb": history}, History(), {"item_emb": raised}
    )


BEFORE = history(effective_rank=[60.0, 11.7], dead_rows=[12.0, 12.0], steps=[10.0, 20.0])


def told(values: dict[str, float], step: int = 200, types: tuple[str, ...] = ()) -> str:
    return since_last_run("item_emb", values, step, types, earlier(BEFORE), History())


def test_the_largest_changes_are_named_first() -> None:
    said = told({"effective_rank": 1.9, "dead_rows": 15, "steps": 900})
    assert said == (
        "Since the run of unknown time, at step 200: "
        "effective rank 11.7 to 1.90; dead rows 12 to 15."
    )


def test_what_is_not_named_is_counted_and_a_label_stands_without_its_brackets() -> None:
    before = earlier(history(a=[1.0], b=[1.0], c=[1.0], oscillation=[0.1]))
    now = dict.fromkeys("abc", 2.0) | {"oscillation": 0.9}
    said = since_last_run("item_emb", now, 100, (), before, History())
    assert "oscillation ρ 0.10 to 0.90; " in said
    assert said.endswith("; 1 more figure changed.")


def test_runs_are_compared_at_the_same_step() -> None:
    assert "at step 100: no figure differs by 5 % or more." in told({"effective_rank": 60.5}, 150)


def test_with_a_run_that_ended_sooner_its_last_step_is_compared() -> None:
    present = history(effective_rank=[60.0, 11.7, 5.0], dead_rows=[12.0, 12.0, 0.0])
    values = {"effective_rank": 1.9, "dead_rows": 0.0}
    said = since_last_run("item_emb", values, 900, (), earlier(BEFORE), present)
    assert said.endswith("at step 200: no figure differs by 5 % or more.")
    assert since_last_run("item_emb", values, 900, (), earlier(BEFORE), History()) == ""


def test_a_layer_that_the_run_before_had_not_is_not_compared() -> None:
    assert since_last_run("new_emb", {"gini": 0.5}, 1, (), earlier(BEFORE), History()) == ""


def test_what_overlapping_intervals_allow_is_no_change() -> None:
    before = earlier(history(gini=[0.5], gini_low=[0.4], gini_high=[0.6]))
    close = {"gini": 0.59, "gini_low": 0.55, "gini_high": 0.65}
    far = {"gini": 0.7, "gini_low": 0.65, "gini_high": 0.75}
    assert "no figure differs" in since_last_run("item_emb", close, 100, (), before, History())
    assert "popularity Gini 0.50 to 0.70" in since_last_run(
        "item_emb", far, 100, (), before, History()
    )


@pytest.mark.parametrize(
    ("step", "types", "said"),
    [(300, (), True), (50, (), False), (300, ("DEAD_EMBEDDINGS",), False)],
    ids=["past its step", "not there yet", "still so"],
)
def test_a_diagnosis_that_is_gone_is_named(step: int, types: tuple[str, ...], said: bool) -> None:
    before = earlier(BEFORE, DEAD_EMBEDDINGS=100)
    line = since_last_run("item_emb", {"dead_rows": 12}, step, types, before, History())
    assert ("DEAD_EMBEDDINGS does not hold any more" in line) is said


def test_a_trend_shows_the_way_of_a_figure_that_moved() -> None:
    ranks = history(effective_rank=[64.0, 40.0, 20.0, 2.0], gini=[0.5, 0.5, 0.5, 0.5])
    assert trends(ranks, ["gini", "effective_rank", "effective_rank", "no_such"]) == [
        ("Effective rank", "█▅▃▁", "64 to 2, steps 100 to 400")
    ]
    assert trends(history(effective_rank=[64.0, 2.0]), ["effective_rank"]) == []


def test_a_time_that_is_none_is_unknown() -> None:
    assert moment(1e300) == moment(None) == moment(float("nan")) == "unknown time"
    assert moment(86_400.0).startswith("1970-01-0")
