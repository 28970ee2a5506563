"""Settings come from the project, the call and the environment, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradtracer.exceptions import SettingsError
from gradtracer.settings import Settings, load_settings


def test_the_last_of_project_call_and_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.gradtracer]\ntrack_interval = 3\nseed = 5\nauto_fix = true\n"
    )
    monkeypatch.setenv("GRADTRACER_TRACK_INTERVAL", "7")
    settings = load_settings(tmp_path, track_interval=4, seed=6, auto_fix=None)
    assert (settings.track_interval, settings.seed, settings.auto_fix) == (7, 6, True)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"'track_intervall'.*nearest valid one is 'track_inte"):
        load_settings(tmp_path, track_intervall=4)


def test_an_unknown_name_says_where_it_stands(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text("[tool.gradtracer]\ntrack_intervall = 3\n")
    with pytest.raises(SettingsError, match=r"'track_intervall' \(\[tool.gradtracer\] in pyproj"):
        load_settings(tmp_path)


def test_a_value_that_does_not_fit_says_where_and_what_was_expected(tmp_path: Path):
    with pytest.raises(
        SettingsError, match=r"track_interval \(arguments\) = 0: Expected `int` >= 1; e.g. 10"
    ):
        load_settings(tmp_path, track_interval=0)


def test_a_variable_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRADTRACER_TRACK_INTERVAL", "abc")
    with pytest.raises(
        SettingsError, match=r"GRADTRACER_TRACK_INTERVAL = 'abc': Expected `int`.*; e.g. 10"
    ):
        load_settings(tmp_path)


def test_a_variable_that_was_mistyped_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("GRADTRACER_TRAK_INTERVAL", "5")
    monkeypatch.setenv("GRADTRACER_DATA", "/data")
    assert load_settings(tmp_path) == Settings()
    assert [record.getMessage() for record in caplog.records] == [
        "GRADTRACER_TRAK_INTERVAL is no setting; did you mean GRADTRACER_TRACK_INTERVAL?"
    ]


@pytest.mark.parametrize("content", ["not toml [", "[tool]\ngradtracer = 3\n"])
def test_a_project_file_that_cannot_be_read_is_no_reason_to_stop(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "pyproject.toml").write_text(content)
    assert load_settings(tmp_path) == load_settings(tmp_path) == Settings()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == content.startswith("not toml")
    assert all("pyproject.toml: " in each and "settings are not used" in each for each in said)


def test_the_servers_table_is_not_ours(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text("[tool.gradtracer.server]\npoll_seconds = 2\n")
    assert load_settings(tmp_path) == Settings()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(".05", 0.05), ("5.", 5.0), ("+.5e1", 5.0), ("0.05", 0.05), ("2", 2.0), ("1e-2", 0.01)],
)
def test_a_number_may_be_written_as_shells_and_people_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, seconds: float
):
    monkeypatch.setenv("GRADTRACER_REPORT_SECONDS", written)
    assert load_settings(tmp_path).report_seconds == seconds


@pytest.mark.parametrize("written", ["-.5", "0.", ".", "5.0.1", "nan"])
def test_a_number_out_of_range_or_none_at_all_is_refused_with_the_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
):
    monkeypatch.setenv("GRADTRACER_REPORT_SECONDS", written)
    with pytest.raises(SettingsError, match=r"GRADTRACER_REPORT_SECONDS = .*; e\.g\. 1\.0"):
        load_settings(tmp_path)
