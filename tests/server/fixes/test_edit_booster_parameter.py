"""A booster's parameter is set where it stands, whatever way it came to the training call."""

from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

CALL = "xgb.train(params, dtrain, 300, evals=evals)"


def propose(
    bench: Bench,
    text: str,
    *,
    call: str = CALL,
    scope: str = "<module>",
    callers: tuple[tuple[str, str], ...] = (),
    parameter: str = "learning_rate",
    value: object = 0.1,
    measured: object = 0.3,
    library: str = "xgboost",
) -> ProposedFix:
    path = bench.write("a.py", text)
    site = [bench.frame(path, call, scope), *(bench.frame(path, *each) for each in callers)]
    given = {"parameter": parameter, "value": value, "library": library}
    if measured is not None:
        given["measured"] = measured
    return bench.one("edit-booster-parameter", site=site, **given)


TRAIN = f"booster = {CALL}\n"


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (f"params = {{'eta': 0.3, 'max_depth': 6}}\n{TRAIN}", "0.3", "0.1"),
        (f'params = {{"learning_rate": 0.3}}\n{TRAIN}', "0.3", "0.1"),
        (f"params = dict(eta=0.3, max_depth=6)\n{TRAIN}", "0.3", "0.1"),
        (f"params = {{}}\nparams['eta'] = 0.3\n{TRAIN}", "= 0.3", "= 0.1"),
        (f"params = {{'eta': 0.5}}\nparams['eta'] = 0.3\n{TRAIN}", "= 0.3", "= 0.1"),
        (f"params = {{}}\nparams.update(eta=0.3)\n{TRAIN}", "eta=0.3", "eta=0.1"),
        (f"params = {{}}\nparams.update({{'eta': 0.3}})\n{TRAIN}", "0.3", "0.1"),
        (f"base = {{'eta': 0.3}}\nparams = {{**base, 'max_depth': 6}}\n{TRAIN}", "0.3", "0.1"),
        (f"base = {{'eta': 0.5}}\nparams = {{**base, 'eta': 0.3}}\n{TRAIN}", "0.3", "0.1"),
        (f"base = {{'eta': 0.3}}\nparams = dict(**base)\n{TRAIN}", "0.3", "0.1"),
        (f"ETA = 0.3\nparams = {{'eta': ETA}}\n{TRAIN}", "ETA = 0.3", "ETA = 0.1"),
        (
            f"parser.add_argument('--eta', default=0.3)\nparams = {{'eta': args.eta}}\n{TRAIN}",
            "0.3",
            "0.1",
        ),
    ],
)
def test_the_number_is_edited_where_it_stands_and_nothing_else(
    bench: Bench, text: str, before: str, after: str
) -> None:
    assert text.count(before) == 1
    assert bench.make(propose(bench, text)) == {"a.py": text.replace(before, after)}


def test_a_dictionary_written_into_the_call_is_edited_there(bench: Bench) -> None:
    call = "xgb.train({'eta': 0.3}, dtrain)"
    fixed = bench.make(propose(bench, f"booster = {call}\n", call=call))
    assert fixed == {"a.py": "booster = xgb.train({'eta': 0.1}, dtrain)\n"}


def test_parameters_that_a_caller_passes_are_followed_to_it(bench: Bench) -> None:
    text = f"""\
PARAMS = {{"eta": 0.3}}

def run(params):
    return {CALL}

run(PARAMS)
"""
    fix = propose(bench, text, scope="run", callers=(("run(PARAMS)", "<module>"),))
    assert bench.make(fix) == {"a.py": text.replace("0.3", "0.1")}
    assert fix.title == "Set eta from 0.3 to 0.1 on line 1"


FIT = "model.fit(X, y)"


@pytest.mark.parametrize(
    ("text", "call", "name"),
    [
        (f"model = XGBClassifier(n_estimators=400)\n{FIT}\n", FIT, "n_estimators"),
        (
            f"kw = {{'iterations': 400}}\nmodel = CatBoostRegressor(**kw)\n{FIT}\n",
            FIT,
            "iterations",
        ),
        ("booster = xgb.train({}, dtrain, 400)\n", "xgb.train({}, dtrain, 400)", "num_boost_round"),
    ],
)
def test_the_title_calls_a_parameter_as_the_text_does(
    bench: Bench, text: str, call: str, name: str
) -> None:
    fix = propose(bench, text, call=call, parameter="num_boost_round", value=32, measured=400)
    assert fix.title.startswith(f"Set {name} from 400 to 32 ")


@pytest.mark.parametrize(
    ("text", "call", "before", "after"),
    [
        (f"model = XGBClassifier(learning_rate=0.3)\n{FIT}\n", FIT, "0.3", "0.1"),
        (f"model = xgb.XGBRegressor(\n    learning_rate=0.3,\n)\n{FIT}\n", FIT, "0.3", "0.1"),
        (f"kw = dict(learning_rate=0.3)\nmodel = LGBMRanker(**kw)\n{FIT}\n", FIT, "0.3", "0.1"),
        (f"model = CatBoostClassifier(eta=0.3)\n{FIT}\n", FIT, "0.3", "0.1"),
        (
            f"model = make_pipeline(StandardScaler(), LGBMClassifier(learning_rate=0.3))\n{FIT}\n",
            FIT,
            "0.3",
            "0.1",
        ),
        (
            "model = XGBClassifier(learning_rate=0.3).fit(X, y)\n",
            "XGBClassifier(learning_rate=0.3).fit(X, y)",
            "0.3",
            "0.1",
        ),
        (f"model = SparkXGBClassifier(learning_rate=0.3)\n{FIT}\n", FIT, "0.3", "0.1"),
        (
            f"model = SparkXGBClassifier(\n    learning_rate=0.3, callbacks=[told]\n)\n{FIT}\n",
            "SparkXGBClassifier(\n    learning_rate=0.3, callbacks=[told]\n)",
            "0.3",
            "0.1",
        ),
        (f"model = DaskLGBMClassifier(learning_rate=0.3)\n{FIT}\n", FIT, "0.3", "0.1"),
        (
            f"from xgboost import XGBClassifier as Booster\nmodel = Booster(eta=0.3)\n{FIT}\n",
            FIT,
            "0.3",
            "0.1",
        ),
    ],
)
def test_an_estimators_parameter_is_edited_where_it_was_built(
    bench: Bench, text: str, call: str, before: str, after: str
) -> None:
    fixed = bench.make(propose(bench, text, call=call))
    assert fixed == {"a.py": text.replace(before, after)}


@pytest.mark.parametrize(
    ("text", "call", "library", "parameter", "line"),
    [
        (f"params = {{'max_depth': 6}}\n{TRAIN}", CALL, "xgboost", "learning_rate",
         "params = {'max_depth': 6, 'learning_rate': 0.1}"),
        (f"params = {{}}\n{TRAIN}", CALL, "xgboost", "colsample_bytree",
         'params = {"colsample_bytree": 0.1}'),
        (f"params = {{}}\n{TRAIN}", CALL, "xgboost", "early_stopping_rounds",
         "booster = xgb.train(params, dtrain, 300, evals=evals, early_stopping_rounds=0.1)"),
        (f"params = {{'a': 1}}\n{TRAIN}", CALL, "lightgbm", "early_stopping_rounds",
         "params = {'a': 1, 'early_stopping_round': 0.1}"),
        (f"model = SparkXGBRegressor(callbacks=[told])\n{FIT}\n",
         "SparkXGBRegressor(callbacks=[told])", "xgboost", "num_boost_round",
         "model = SparkXGBRegressor(callbacks=[told], n_estimators=0.1)"),
        (f"model = XGBRegressor()\n{FIT}\n", FIT, "xgboost", "num_boost_round",
         "model = XGBRegressor(n_estimators=0.1)"),
        (f"model = CatBoostRegressor(depth=4)\n{FIT}\n", FIT, "catboost", "num_boost_round",
         "model = CatBoostRegressor(depth=4, iterations=0.1)"),
        (f"model = CatBoostRegressor(depth=4)\n{FIT}\n", FIT, "catboost", "colsample_bytree",
         "model = CatBoostRegressor(depth=4, rsm=0.1)"),
        (f"model = XGBRegressor()\n{FIT}\n", FIT, "xgboost", "min_split_gain",
         "model = XGBRegressor(gamma=0.1)"),
        (f"model = XGBRegressor()\n{FIT}\n", FIT, "xgboost", "max_depth",
         "model = XGBRegressor(max_depth=0.1)"),
        (f"model = CatBoostRegressor()\n{FIT}\n", FIT, "catboost", "max_depth",
         "model = CatBoostRegressor(depth=0.1)"),
        (f"params = {{'a': 1}}\n{TRAIN}", CALL, "lightgbm", "max_depth",
         "params = {'a': 1, 'max_depth': 0.1}"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_absent_is_added_under_the_librarys_name(
    bench: Bench, text: str, call: str, library: str, parameter: str, line: str
) -> None:
    fix = propose(bench, text, call=call, library=library, parameter=parameter, measured=None)
    (fixed,) = bench.make(fix).values()
    assert line in fixed.splitlines()
    assert fix.title.startswith("Add ")


def test_rounds_are_edited_by_place_and_by_name(bench: Bench) -> None:
    by_place = propose(
        bench, TRAIN.replace("params", "{}"), call=CALL.replace("params", "{}"),
        parameter="num_boost_round", value=80, measured=300,
    )  # fmt: skip
    assert bench.make(by_place) == {"a.py": "booster = xgb.train({}, dtrain, 80, evals=evals)\n"}
    call = "lgb.cv({}, data, num_boost_round=300)"
    by_name = propose(
        bench, f"scores = {call}\n", call=call, parameter="num_boost_round", value=80, measured=300
    )
    assert bench.make(by_name) == {"a.py": "scores = lgb.cv({}, data, num_boost_round=80)\n"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"params = load()\n{TRAIN}", "the parameters is given as load() on line 1, in which no"),
        (f"params = {{'eta': 0.3 * scale}}\n{TRAIN}", "learning_rate is given as 0.3 * scale"),
        (TRAIN, "params on line 1 is not set in this file"),
        (
            f"params = {{}}\nif a:\n    params['eta'] = 0.3\nparams['eta'] = 0.5\n{TRAIN}",
            "learning_rate is assigned in 2 places",
        ),
        (f"params = {{'eta': 0.1}}\n{TRAIN}", "learning_rate is 0.1 already"),
        (f"params = {{'eta': 0.2}}\n{TRAIN}", "learning_rate is 0.2 now; the run had 0.3"),
    ],
)
def test_what_cannot_be_edited_says_why(bench: Bench, text: str, reason: str) -> None:
    disabled = propose(bench, text).disabled_reason
    assert disabled is not None and disabled.startswith(reason)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("learning_rate", "fast"), ("nonsense", 1), (None, 1), ("learning_rate", float("nan"))],
)
def test_an_offer_that_names_no_parameter_or_no_number_is_refused(
    bench: Bench, parameter: str, value: object
) -> None:
    fix = propose(bench, f"params = {{}}\n{TRAIN}", parameter=parameter, value=value)
    assert fix.disabled_reason is not None
    assert fix.disabled_reason.startswith("expected a parameter of a booster and its value")


@pytest.mark.parametrize(("eta", "done"), [("0.3", False), ("0.1", True), ("0.2", True)])
def test_a_finding_is_addressed_once_the_text_says_something_else_than_the_run_had(
    bench: Bench, eta: str, done: bool
) -> None:
    path = bench.write("a.py", f"params = {{'eta': {eta}}}\n{TRAIN}")
    offer = FixOffer(
        fix="edit-booster-parameter",
        parameters={"parameter": "learning_rate", "value": 0.1, "measured": 0.3},
    )
    diagnosis = bench.diagnosis([bench.frame(path, CALL)], fixes=[offer])
    assert addressed(FixContext(diagnosis, None, bench.frames)) is done


DEPTHS = [
    (f"params = {{'max_depth': 6}}\n{TRAIN}", CALL),
    (f"params = dict(depth=6)\n{TRAIN}", CALL),
    (f"DEPTH = 6\nbase = {{'max_depth': DEPTH}}\nparams = {{**base, 'eta': 0.1}}\n{TRAIN}", CALL),
    (f"params = {{}}\nparams['max_depth'] = 6\n{TRAIN}", CALL),
    (f"model = XGBRegressor(max_depth=6)\n{FIT}\n", FIT),
    (f"kw = {{'max_depth': 6}}\nmodel = LGBMClassifier(**kw)\n{FIT}\n", FIT),
    (f"model = CatBoostRegressor(depth=6)\n{FIT}\n", FIT),
    ("a.add_argument('--depth', default=6)\nm = CatBoostRegressor(depth=args.depth)\nm.fit(X)\n",
     "m.fit(X)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "call"), DEPTHS)
def test_the_depth_is_edited_where_it_stands(bench: Bench, text: str, call: str) -> None:
    fix = propose(bench, text, call=call, parameter="max_depth", value=3, measured=6)
    assert bench.make(fix) == {"a.py": text.replace("6", "3")}
