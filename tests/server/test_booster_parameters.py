"""Which booster a number in the text is a parameter of."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_bench import Bench

from gradtracer_schemas import LayerWatched, RunStarted, SourceSite
from gradtracer_server.booster_parameters import PlacedParameter, parameters_at
from gradtracer_server.runs import LayerState, Run
from gradtracer_server.source.position import Position

TEXT = """\
ETA = 0.3
params = {"eta": ETA, "max_depth": 6}
params["gamma"] = 2.0
booster = xgb.train(params, dtrain, 300)
print(0.3)
"""
MEASURED = {"learning_rate": 0.3, "max_depth": 6.0, "min_split_gain": 2.0, "num_boost_round": 300.0}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "project")


def at(bench: Bench, line: int, column: int, text: str = TEXT) -> list[PlacedParameter]:
    path = bench.write("a.py", text)
    frame = bench.frame(path, "xgb.train(params, dtrain, 300)")
    run = Run(bench.root / ".gradtracer" / "runs" / "20260101-000000-abcdef")
    run.started = RunStarted(root=str(bench.root), script=str(path), argv=[], pid=1, host="here")
    watched = LayerWatched(
        layer="booster",
        type="Booster",
        shape=[],
        dtype="",
        device="",
        site=SourceSite(frames=[frame]),
        settings={**MEASURED, "colsample_bytree": 1.0, "auto_fix": False},
    )
    run.layers["booster"] = LayerState(watched)
    return parameters_at(path, Position(line, column), [run], bench.documents, bench.workspace)


@pytest.mark.parametrize(
    ("line", "column", "name"),
    [
        (0, 7, "learning_rate"),
        (1, 36, "max_depth"),
        (2, 19, "min_split_gain"),
        (3, 37, "num_boost_round"),
    ],
)
def test_a_literal_is_known_wherever_it_came_from(
    bench: Bench, line: int, column: int, name: str
) -> None:
    (found,) = at(bench, line, column)
    assert (found.name, found.measured) == (name, MEASURED[name])
    assert found.layer.state.watched.layer == "booster"
    assert found.range.start.line == line


@pytest.mark.parametrize(("line", "column"), [(0, 0), (1, 2), (4, 7), (9, 0)])
def test_what_sets_no_parameter_is_none(bench: Bench, line: int, column: int) -> None:
    assert at(bench, line, column) == []


def test_a_call_that_has_changed_tells_nothing(bench: Bench) -> None:
    path = bench.write("a.py", TEXT)
    frame = bench.frame(path, "xgb.train(params, dtrain, 300)")
    assert frame.text
    bench.write("a.py", TEXT.replace("dtrain, 300", "dtrain, 200"))
    run = Run(bench.root / ".gradtracer" / "runs" / "20260101-000000-abcdef")
    run.layers["booster"] = LayerState(
        LayerWatched(
            layer="booster", type="Booster", shape=[], dtype="", device="",
            site=SourceSite(frames=[frame]), settings={"learning_rate": 0.3},
        )
    )  # fmt: skip
    assert parameters_at(path, Position(0, 7), [run], bench.documents, bench.workspace) == []
