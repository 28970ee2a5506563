"""A column is left out where the columns are chosen, or by the parameter that CatBoost has."""

from __future__ import annotations

import re

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

FIT = "model.fit(X, y)"
MODEL = f"model = XGBClassifier()\n{FIT}\n"


def propose(
    bench: Bench,
    text: str,
    *,
    call: str = FIT,
    scope: str = "<module>",
    callers: tuple[tuple[str, str], ...] = (),
    column: object = "leak",
    library: str = "xgboost",
) -> ProposedFix:
    path = bench.write("a.py", text)
    site = [bench.frame(path, call, scope), *(bench.frame(path, *each) for each in callers)]
    return bench.one("leave-out-column", site=site, column=column, library=library)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (f'X = frame[["age", "leak", "pay"]]\n{MODEL}', '"leak", ', ""),
        (f"X = frame[['age', 'leak']]\n{MODEL}", ", 'leak'", ""),
        (f'NAMES = ["leak", "age"]\nX = frame[NAMES]\n{MODEL}', '"leak", ', ""),
        (f'NAMES = [\n    "age",\n    "leak",  # odd\n    "pay",\n]\nX = frame[NAMES]\n{MODEL}',
         '"leak",  # odd\n    ', ""),
        (f'NAMES = [\n    "age",  # years\n    "leak",\n]\nX = frame[NAMES]\n{MODEL}',
         '\n    "leak"', ""),
        (f'X = frame.loc[:, ["age", "leak"]]\n{MODEL}', ', "leak"', ""),
        (f'X = frame[["age", "leak"]].astype(float)[a & (b > 0)].copy()\n{MODEL}', ', "leak"', ""),
        (f'X = frame.iloc[rows][["age", "leak"]]\n{MODEL}', ', "leak"', ""),
        (f'X = frame.drop(columns=["pay"])\n{MODEL}', '"pay"]', '"pay", "leak"]'),
        (f'X = frame.drop(columns="pay")\n{MODEL}', '"pay"', '["pay", "leak"]'),
        (f"X = frame.drop('pay', axis=1)\n{MODEL}", "'pay'", "['pay', 'leak']"),
        (f'X = frame.drop(["pay"], axis="columns")\n{MODEL}', '"pay"]', '"pay", "leak"]'),
        (f'NOT = ["pay"]\nX = frame.drop(columns=NOT)\n{MODEL}', '"pay"]', '"pay", "leak"]'),
        (f'X = pd.read_csv("x.csv")\ny = X.pop("pay")\n{MODEL}',
         '"x.csv")', '"x.csv").drop(columns=["leak"])'),
        (f"X = pd.get_dummies(frame.drop(columns=['pay']))\n{MODEL}",
         "))", ")).drop(columns=['leak'])"),
        (f'N = [c for c in frame.columns if c != PAY]\nX = frame[N]\n{MODEL}',
         "!= PAY", '!= PAY and c != "leak"'),
        (f"N = [c for c in frame if c != 'pay' or wide]\nX = frame[N]\n{MODEL}",
         "or wide", "or wide if c != 'leak'"),
        (f'X = frame[[c for c in frame.columns]]\n{MODEL}',
         "frame.columns", 'frame.columns if c != "leak"'),
        (f"T = frame[['age', 'leak']]\nX, V, y, v = train_test_split(T, target)\n{MODEL}",
         ", 'leak'", ""),
    ],
)  # fmt: skip
def test_the_column_is_left_out_where_the_columns_are_chosen(
    bench: Bench, text: str, before: str, after: str
) -> None:
    assert text.count(before) == 1
    fix = propose(bench, text)
    assert bench.make(fix) == {"a.py": text.replace(before, after)}
    assert fix.title.startswith("Leave leak out: ")


@pytest.mark.parametrize(
    ("text", "call", "library"),
    [
        ("X = frame[['age', 'leak']]\nd = xgb.DMatrix(X, y)\nxgb.train({}, d)\n",
         "xgb.train({}, d)", "xgboost"),
        ("X = frame[['age', 'leak']]\nxgb.cv({}, xgb.DMatrix(X[:100], label=y))\n",
         "xgb.cv({}, xgb.DMatrix(X[:100], label=y))", "xgboost"),
        ("X = frame[['age', 'leak']]\nd = lgb.Dataset(data=X, label=y)\n"
         "b = lgb.train({}, train_set=d)\n", "lgb.train({}, train_set=d)", "lightgbm"),
    ],
)  # fmt: skip
def test_data_sets_are_followed_to_their_tables(
    bench: Bench, text: str, call: str, library: str
) -> None:
    fixed = bench.make(propose(bench, text, call=call, library=library))
    assert fixed == {"a.py": text.replace(", 'leak'", "")}


def test_a_table_that_a_caller_passes_is_followed_to_it(bench: Bench) -> None:
    text = f"""\
def run(X, y):
    model = LGBMClassifier()
    {FIT}

frame = frame.copy()
run(frame[["age", "leak"]], frame["pay"])
"""
    caller = 'run(frame[["age", "leak"]], frame["pay"])'
    fix = propose(bench, text, scope="run", callers=((caller, "<module>"),), library="lightgbm")
    assert bench.make(fix) == {"a.py": text.replace(', "leak"', "")}


def test_lightgbms_underscores_are_known_as_the_spaces_of_the_column(bench: Bench) -> None:
    text = f"X = frame[['age', 'paid later']]\n{MODEL}"
    fix = propose(bench, text, column="paid_later", library="lightgbm")
    assert bench.make(fix) == {"a.py": text.replace(", 'paid later'", "")}


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("model = CatBoostClassifier(depth=4)\n",
         'model = CatBoostClassifier(depth=4, ignored_features=["leak"])\n'),
        ("model = CatBoostClassifier(ignored_features=['id'])\n",
         "model = CatBoostClassifier(ignored_features=['id', 'leak'])\n"),
        ("OUT = ['id']\nmodel = CatBoostClassifier(ignored_features=OUT)\n",
         "OUT = ['id', 'leak']\nmodel = CatBoostClassifier(ignored_features=OUT)\n"),
        ("how = {'depth': 4}\nmodel = CatBoostRegressor(**how)\n",
         "how = {'depth': 4}\nmodel = CatBoostRegressor(**how, ignored_features=[\"leak\"])\n"),
    ],
)  # fmt: skip
def test_catboost_is_told_to_ignore_it(bench: Bench, text: str, after: str) -> None:
    fix = propose(bench, f"{text}{FIT}\n", library="catboost")
    assert bench.make(fix) == {"a.py": f"{after}{FIT}\n"}


def test_other_lines_that_name_the_column_are_told(bench: Bench) -> None:
    text = f'X = frame[["age", "leak"]]\nprint(frame["leak"].mean())\n{MODEL}'
    title = propose(bench, text).title
    assert title == "Leave leak out: take it from the list on line 1; line 2 names it too"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"X = make_table()\n{MODEL}", r"come out of make_table\(...\) on line 1"),
        (f"X = np.load('x.npy')\n{MODEL}", r"come out of load\(...\)"),
        (f"X = frame[other + ['leak']]\n{MODEL}", "columns on line 1 are no list of names"),
        (f"X = pd.read_csv('x')[NAMES]\n{MODEL}", "columns on line 1 are no list of names"),
        (f"X = frame[['leak', 'age']].values\n{MODEL}", "is set cannot be read"),
        (f"{MODEL}", "X on line 2 is not set in this file"),
        (f"X = frame[[*OTHERS, 'age']]\n{MODEL}", "leak is not written in the list on line 1"),
        (f"X = frame[['leak']]\n{MODEL}", "leak is the only column"),
        (f"X = frame[[c for c in frame if c not in ('leak', 'pay')]]\n{MODEL}", "line 1 already"),
        (f"X = frame[[c + '_n' for c in NAMES]]\n{MODEL}", "are not taken over by their names"),
        (f"X = frame[[c for t in TABLES for c in t]]\n{MODEL}", "not taken over|several loops"),
        (f"X = frame[[c for c in NAMES for _ in TABLES]]\n{MODEL}", "out of several loops"),
        (f"X = pd.read_csv('x')\nX['leak'] = 1\n{MODEL}", "leak is made on line 2"),
        (f"X = pd.read_csv('x')[f(y)].drop(rows)\n{MODEL}", "drops no columns"),
        (f"X = frame.drop(columns=[c for c in frame])\n{MODEL}", "is no list"),
    ],
)  # fmt: skip
def test_what_cannot_be_left_out_says_why(bench: Bench, text: str, reason: str) -> None:
    told = propose(bench, text).disabled_reason
    assert told is not None
    assert re.search(reason, told), told


@pytest.mark.parametrize(
    ("text", "library"),
    [
        (f'X = frame[["age", "pay"]]\n{MODEL}', "xgboost"),
        (f'X = frame.drop(columns=["leak"])\n{MODEL}', "xgboost"),
        (f'X = frame.drop(columns="leak")\n{MODEL}', "lightgbm"),
        (f'X = pd.read_csv("x").drop(columns=["leak"])\n{MODEL}', "xgboost"),
        (f"model = CatBoostClassifier(ignored_features=['leak'])\n{FIT}\n", "catboost"),
    ],
)
def test_a_finding_is_addressed_once_the_column_is_out(
    bench: Bench, text: str, library: str
) -> None:
    path = bench.write("a.py", text)
    offer = FixOffer(fix="leave-out-column", parameters={"column": "leak", "library": library})
    diagnosis = bench.diagnosis([bench.frame(path, FIT)], fixes=[offer])
    assert addressed(FixContext(diagnosis, None, bench.frames))


def test_an_offer_without_a_column_is_refused(bench: Bench) -> None:
    assert "expected the name of a column" in (
        propose(bench, f"X = frame[['leak', 'a']]\n{MODEL}", column=3).disabled_reason or ""
    )
