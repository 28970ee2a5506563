"""The Adult example: its loader, and one short training of each library."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gradtracer_schemas import LayerWatchedEvent, decode_event
from patience import PATIENCE

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def adult(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("adult")


def test_a_file_that_is_not_adult_is_refused_by_its_digest(
    adult: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "adult.csv"
    file.write_text("age," + ",".join("abcdefghijklmn") + "\n" + ",".join("1" * 15) + "\n")
    with pytest.raises(adult.DataError, match="not Adult: expected table sha256 430ec16e"):
        adult.load(file)


def test_a_folder_without_it_says_what_was_expected(adult: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(adult.DataError, match=r"a folder with adult/adult\.csv or adult/adult"):
        adult.load(tmp_path)


def test_without_real_data_the_bundled_set_serves_and_that_is_said(
    adult: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GRADTRACER_DATA", raising=False)
    monkeypatch.setenv("GRADTRACER_OFFLINE", "1")
    census = adult.load(cache=tmp_path)
    assert len(census.target) == 569
    assert "training on scikit-learn's breast cancer set" in capsys.readouterr().err


def test_the_two_forms_of_the_table_have_one_digest(adult: ModuleType) -> None:
    import pandas as pd

    rows = [[str(i)] * len(adult.COLUMNS) for i in range(3)]
    table = pd.DataFrame(rows, columns=adult.COLUMNS)
    assert adult.digest(table) == adult.digest(table.iloc[::-1])


def test_adult_has_its_rows_and_categories(adult: ModuleType) -> None:
    census = adult.load()
    if not census.source.endswith(("adult.csv", "adult.data")):
        pytest.skip("no Adult census on this machine")
    assert census.features.shape == (30_162, 14)
    assert len(census.categorical) == 8
    assert census.target.mean() == pytest.approx(0.2489, abs=0.001)
    train, valid = census.split(0)
    assert (len(train.target), len(valid.target)) == (24_129, 6_033)


def test_each_library_trains_and_is_observed_on_its_own_line(tmp_path: Path) -> None:
    import os

    result = subprocess.run(
        [
            sys.executable, str(EXAMPLES / "adult_gbdt.py"), "--rounds", "5", "--threads", "1",
        ],
        env={**os.environ, "GRADTRACER_FOLDER": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [
        "xgboost",
        "lightgbm",
        "catboost",
    ]
    watched = [
        event.body
        for file in sorted(tmp_path.glob(".gradtracer/runs/*/events.jsonl"))
        for line in file.read_bytes().splitlines()
        if isinstance(event := decode_event(line), LayerWatchedEvent)
    ]
    assert {each.type for each in watched} == {"Booster", "LGBMClassifier", "CatBoostClassifier"}
    assert {each.site.frames[0].qualname for each in watched} == {
        "train_xgboost",
        "train_lightgbm",
        "train_catboost",
    }
