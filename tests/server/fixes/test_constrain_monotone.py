"""Constraints are added as each library takes them, with the rounds where those stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

CALL = "xgb.train(params, dtrain, 300, evals=evals)"
FIT = "model.fit(X, y)"
NAMES = ["age", "pay", "late"]
SIGNS = {"age": 1, "late": -1}


def offer(library: str = "xgboost", **given: Any) -> dict[str, Any]:
    wanted = {"signs": SIGNS, "columns": NAMES, "rounds": 40, "measured": 300, "library": library}
    return {**wanted, **given}


def propose(bench: Bench, text: str, call: str, **given: Any) -> ProposedFix:
    path = bench.write("a.py", text)
    return bench.one("constrain-monotone", site=[bench.frame(path, call)], **given)


@pytest.mark.parametrize(
    ("text", "call", "library", "expected"),
    [
        (f"params = {{'eta': 0.3}}\nbooster = {CALL}\n", CALL, "xgboost",
         "params = {'eta': 0.3, 'monotone_constraints': {'age': 1, 'late': -1}}\n"
         "booster = xgb.train(params, dtrain, 40, evals=evals)\n"),
        (f'ROUNDS = 300\nparams = dict(eta=0.3)\nbooster = {CALL.replace("300", "ROUNDS")}\n',
         CALL.replace("300", "ROUNDS"), "xgboost",
         'ROUNDS = 40\nparams = dict(eta=0.3, monotone_constraints={"age": 1, "late": -1})\n'
         f'booster = {CALL.replace("300", "ROUNDS")}\n'),
        ("params = {}\nmodel = lgb.train(params, data)\n", "lgb.train(params, data)", "lightgbm",
         'params = {"monotone_constraints": [1, 0, -1]}\n'
         "model = lgb.train(params, data, num_boost_round=40)\n"),
        (f"kw = {{'n_estimators': 300}}\nmodel = LGBMRegressor(**kw)\n{FIT}\n", FIT, "lightgbm",
         "kw = {'n_estimators': 40}\n"
         f"model = LGBMRegressor(**kw, monotone_constraints=[1, 0, -1])\n{FIT}\n"),
        (f"model = XGBRegressor()\n{FIT}\n", FIT, "xgboost",
         'model = XGBRegressor(n_estimators=40, monotone_constraints={"age": 1, "late": -1})\n'
         f"{FIT}\n"),
        (f"model = CatBoostRegressor(depth=4)\n{FIT}\n", FIT, "catboost",
         "model = CatBoostRegressor(depth=4, iterations=40, "
         f'monotone_constraints={{"age": 1, "late": -1}})\n{FIT}\n'),
        (f"model = XGBRegressor(n_estimators=40, monotone_constraints=None)\n{FIT}\n", FIT,
         "xgboost", 'model = XGBRegressor(n_estimators=40, monotone_constraints={"age": 1, '
         f'"late": -1}})\n{FIT}\n'),
    ],
)  # fmt: skip
def test_rounds_and_constraints_are_one_edit(
    bench: Bench, text: str, call: str, library: str, expected: str
) -> None:
    fix = propose(bench, text, call, **offer(library))
    assert fix.title.startswith("Constrain age to rise, late to fall on line ")
    assert bench.make(fix) == {"a.py": expected}


@pytest.mark.parametrize(
    ("library", "columns", "written"),
    [
        ("xgboost", ["f0", "f1"], "(0, -1)"),
        ("xgboost", ["f0", "f2"], '{"f2": -1}'),
        ("catboost", ["0", "1"], "{1: -1}"),
        ("lightgbm", ["Column_0", "Column_1"], "[0, -1]"),
        ("xgboost", ["a", 'b"c'], '{"b\\"c": -1}'),
    ],
)
def test_columns_without_names_are_told_by_their_places(
    bench: Bench, library: str, columns: list[str], written: str
) -> None:
    text = f"model = XGBRegressor(n_estimators=300)\n{FIT}\n"
    given = offer(library, signs={columns[1]: -1}, columns=columns)
    (fixed,) = bench.make(propose(bench, text, FIT, **given)).values()
    assert f"monotone_constraints={written})" in fixed


def test_constraints_that_stand_there_are_left_alone(bench: Bench) -> None:
    text = f"model = XGBRegressor(monotone_constraints=(1, 0, 0))\n{FIT}\n"
    fix = propose(bench, text, FIT, **offer())
    assert fix.disabled_reason == "monotone_constraints is set already, on line 1"
    path = bench.write("a.py", text)
    diagnosis = bench.diagnosis(
        site=[bench.frame(path, FIT)],
        fixes=[FixOffer(fix="constrain-monotone", parameters=offer())],
    )
    assert addressed(FixContext(diagnosis, None, bench.frames))


def test_rounds_that_were_edited_since_are_left_alone(bench: Bench) -> None:
    fix = propose(bench, f"model = XGBRegressor(n_estimators=70)\n{FIT}\n", FIT, **offer())
    assert fix.disabled_reason == "num_boost_round is 70 now; the run had 300"


@pytest.mark.parametrize(
    "given",
    [
        {"signs": {}},
        {"signs": {"age": 2}},
        {"signs": {"height": 1}},
        {"signs": ["age"]},
        {"columns": "age"},
        {"columns": [1, 2]},
        {"rounds": 0},
        {"rounds": "40"},
    ],
)
def test_what_no_probe_would_offer_is_refused(bench: Bench, given: dict[str, Any]) -> None:
    fix = propose(bench, f"model = XGBRegressor()\n{FIT}\n", FIT, **offer(**given))
    assert fix.disabled_reason is not None
    assert fix.disabled_reason.startswith("expected signs of some columns and a number of rounds")


MODELS = [
    ("xgboost", "XGBRegressor(n_estimators=300, n_jobs=1)"),
    ("lightgbm", "LGBMRegressor(n_estimators=300, n_jobs=1, verbose=-1)"),
    ("catboost", "CatBoostRegressor(iterations=300, verbose=0, allow_writing_files=False)"),
]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("library", "model"), MODELS)
def test_the_library_takes_what_is_written(
    bench: Bench, library: str, model: str, named: bool
) -> None:
    x = np.random.default_rng(0).normal(size=(300, 3))
    target = -np.sin(3 * x[:, 0]) + x[:, 1]
    columns = {"xgboost": "f{}", "lightgbm": "Column_{}", "catboost": "{}"}[library]
    names = NAMES if named else [columns.format(place) for place in range(3)]
    text = f"from {library} import *\nmodel = {model}\n{FIT}\n"
    given = offer(library, signs={names[0]: 1}, columns=names)
    (fixed,) = bench.make(propose(bench, text, FIT, **given)).values()
    held: dict[str, Any] = {"X": pd.DataFrame(x, columns=NAMES) if named else x, "y": target}
    exec(fixed, held)
    line = np.zeros((50, 3))
    line[:, 0] = np.linspace(-2, 2, 50)
    told = held["model"].predict(pd.DataFrame(line, columns=NAMES) if named else line)
    assert (np.diff(told) >= -1e-6).all()


def test_names_beyond_ascii_stay_as_they_are(bench: Bench) -> None:
    text = f'params = {{"eta": 0.3}}\nbooster = {CALL}\n'
    signs = {"возраст": 1, "ö": -1}
    fix = propose(bench, text, CALL, **offer(signs=signs, columns=[*signs, "pay"]))
    [made] = bench.make(fix).values()
    assert '"monotone_constraints": {"возраст": 1, "ö": -1}' in made
