"""A real booster that trains now: its rounds stand on the call, its progress is one bar."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsp.editor import Editor
from lsprotocol import types

from patience import PATIENCE

DATA = """\
import sys

import numpy as np
{imports}

import gradtracer

{a_line_a_round}
rng = np.random.default_rng(0)
x = rng.normal(size=(600, 5))
y = x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=600)
"""
XGBOOST = (
    DATA.format(
        imports="import xgboost as xgb",
        a_line_a_round="""
class OneLineARound(xgb.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        return not sys.stdin.readline()

""",
    )
    + """\
dtrain, dval = xgb.DMatrix(x[:400], y[:400]), xgb.DMatrix(x[400:], y[400:])
params = {
    "eta": 0.3,
    "nthread": 1,
}
booster = xgb.train(
    params,
    dtrain,
    5000,
    evals=[(dtrain, "train"), (dval, "val")],
    verbose_eval=False,
    callbacks=[gradtracer.xgboost_callback(), OneLineARound()],
)
"""
)
LIGHTGBM = (
    DATA.format(
        imports="import lightgbm as lgb",
        a_line_a_round="""
def one_line_a_round(env):
    if not sys.stdin.readline():
        raise lgb.callback.EarlyStopException(env.iteration, env.evaluation_result_list)

""",
    )
    + """\
train = lgb.Dataset(x[:400], y[:400])
params = {
    "eta": 0.3,
    "num_threads": 1,
    "verbose": -1,
}
booster = lgb.train(
    params,
    train,
    5000,
    valid_sets=[train, train.create_valid(x[400:], y[400:])],
    valid_names=["train", "val"],
    callbacks=[gradtracer.lightgbm_callback(), one_line_a_round],
)
"""
)
CATBOOST = (
    DATA.format(
        imports="from catboost import CatBoostRegressor",
        a_line_a_round="""
class OneLineARound:
    def after_iteration(self, info):
        return bool(sys.stdin.readline())

""",
    )
    + """\
model = CatBoostRegressor(
    learning_rate=0.3,
    iterations=5000,
    thread_count=1,
    verbose=0,
    use_best_model=False,
)
{watch}
model.fit(
    x[:400],
    y[:400],
    eval_set=(x[400:], y[400:]),
    callbacks=[{ours}OneLineARound()],
)
"""
)
CALLED_BACK = CATBOOST.format(watch="", ours="gradtracer.catboost_callback(), ")
WATCHED = CATBOOST.format(watch="gradtracer.watch(model)", ours="")
TRAININGS = {
    "xgboost": (XGBOOST, "xgb.train("),
    "lightgbm": (LIGHTGBM, "lgb.train("),
    "catboost": (CALLED_BACK, "model.fit("),
    "catboost by its files": (WATCHED, "model.fit("),
}


@pytest.fixture(params=TRAININGS)
def library(request: pytest.FixtureRequest) -> str:
    """Which of the trainings it is."""
    return request.param


@pytest.fixture
def training(tmp_path: Path, library: str) -> Iterator[subprocess.Popen[bytes]]:
    """A training that does a round for each line it is sent, and ends with its input."""
    (tmp_path / "train.py").write_text(TRAININGS[library][0], encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GRADTRACER_REPORT_SECONDS": "0.1"},
    )
    yield process
    if process.poll() is None:
        process.communicate()


def step(training: subprocess.Popen[bytes]) -> None:
    assert training.stdin is not None
    training.stdin.write(b"\n")
    training.stdin.flush()


async def hints(editor: Editor, script: Path) -> dict[int, str]:
    """What stands at the end of which line."""
    found = await editor.client.text_document_inlay_hint_async(
        types.InlayHintParams(
            types.TextDocumentIdentifier(script.as_uri()),
            types.Range(types.Position(0, 0), types.Position(100, 0)),
        )
    )
    return {hint.position.line: str(hint.label) for hint in found or []}


async def hint_until(
    editor: Editor, script: Path, wanted: str, training: subprocess.Popen[bytes] | None = None
) -> list[int]:
    """Lines of the hints, once one reads like a pattern; the training goes on meanwhile."""
    end = time.monotonic() + PATIENCE
    while True:
        told = await hints(editor, script)
        if any(re.fullmatch(wanted, said) for said in told.values()):
            return list(told)
        assert time.monotonic() < end, f"not within {PATIENCE} s: {told}"
        if training is not None:
            step(training)
        await asyncio.sleep(0.02)


async def test_rounds_of_a_booster_are_told_while_it_trains_and_after(
    editor: Editor, tmp_path: Path, library: str, training: subprocess.Popen[bytes]
) -> None:
    text, call = TRAININGS[library]
    script = tmp_path / "train.py"
    await editor.start(tmp_path)
    editor.open(script)
    at = await hint_until(editor, script, r"round \d+/5,000, val \d\.\d+", training)
    lines = text.splitlines()
    # The line that asked for a run of its own has a hint of its own.
    assert {lines[line] for line in at} - {"gradtracer.watch(model)"} == {")"}

    def bar() -> list[object]:
        return [each for said in editor.client.progress_reports.values() for each in said]

    def said(pattern: str) -> bool:
        told = [getattr(each, "message", "") or "" for each in bar()]
        return any(re.match(pattern, message) for message in told)

    await editor.until(lambda: said(r"round \d+/5,000"))
    begun = bar()[0]
    assert isinstance(begun, types.WorkDoneProgressBegin)
    assert begun.title == "Training train.py"

    for _ in range(30):  # a best round is named from 20 rounds on
        step(training)
    card = await editor.hover_until(script, call, "Best round")
    assert re.search(r"Live: round \d+ of 5,000", card)
    await editor.hover_until(script, "0.3,", "learning_rate: the run had 0.3.")

    training.communicate()
    await hint_until(editor, script, r"\d+ rounds, val \d\.\d+")
    await editor.until(lambda: isinstance(bar()[-1], types.WorkDoneProgressEnd))
    assert re.match(r"finished at round \d+ of 5,000", bar()[-1].message)
