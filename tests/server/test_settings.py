"""The server's settings: never fatal, always said where and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.settings import ServerSettings, load_settings


def project(root: Path, text: str) -> Path:
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return root


def test_nothing_set_means_the_defaults() -> None:
    assert load_settings() == (ServerSettings(), [])


def test_project_sets_and_editor_overrides(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        "[tool.gradtracer.server]\npoll-seconds = 5\ndisabled_types = ['POPULARITY_BIAS']\n",
    )
    settings, errors = load_settings([root], {"pollSeconds": 2.5})
    assert settings == ServerSettings(poll_seconds=2.5, disabled_types=["POPULARITY_BIAS"])
    assert errors == []


def test_first_root_wins(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    for seconds, root in enumerate(roots, start=3):
        root.mkdir()
        project(root, f"[tool.gradtracer.server]\npoll_seconds = {seconds}\n")
    assert load_settings(roots)[0].poll_seconds == 3


def test_settings_of_the_probe_are_not_the_servers_business(tmp_path: Path) -> None:
    root = project(tmp_path, "[tool.gradtracer]\nauto_fix = true\ntrack_interval = 5\n")
    assert load_settings([root]) == (ServerSettings(), [])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"show_outdatet": True}, "unknown setting 'show_outdatet'; the nearest valid one is"),
        ({"poll_seconds": "often"}, "expected `float`, got `str`; 1.0 stands"),
        ({"poll_seconds": 0}, "expected `float` >= 0.1; 1.0 stands"),
        ({"disabled_types": ["POPULARITY"]}, "invalid enum value 'POPULARITY'"),
        ({"showOutdated": None}, "expected `bool`, got `null`; True stands"),
        ("show_outdated", "expected an object"),
    ],
)
def test_bad_option_is_reported_and_the_default_stands(options: object, complaint: str) -> None:
    settings, errors = load_settings((), options)
    assert settings == ServerSettings()
    assert len(errors) == 1
    assert complaint in str(errors[0])


def test_bad_option_leaves_the_projects_value(tmp_path: Path) -> None:
    root = project(tmp_path, "[tool.gradtracer.server]\npoll_seconds = 5\n")
    settings, errors = load_settings([root], {"poll_seconds": -1})
    assert settings.poll_seconds == 5
    assert "5.0 stands" in str(errors[0])


def test_project_cannot_open_the_server_to_other_machines(tmp_path: Path) -> None:
    root = project(tmp_path, "[tool.gradtracer.server]\nallow_remote_endpoints = true\n")
    settings, errors = load_settings([root])
    assert not settings.allow_remote_endpoints
    assert "set it in the editor" in str(errors[0])
    assert load_settings([root], {"allowRemoteEndpoints": True})[0].allow_remote_endpoints


def test_setting_in_the_probes_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    root = project(tmp_path, "[tool.gradtracer]\nshow_outdated = false\n")
    settings, errors = load_settings([root])
    assert settings.show_outdated
    assert "belongs in [tool.gradtracer.server]" in str(errors[0])


@pytest.mark.parametrize("text", ["gradtracer = [", "tool = 3 # gradtracer", "\0gradtracer"])
def test_broken_project_file_costs_nothing(tmp_path: Path, text: str) -> None:
    assert load_settings([project(tmp_path, text)])[0] == ServerSettings()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
names = st.sampled_from([*ServerSettings.__struct_fields__, "pollSeconds"]) | st.text(max_size=9)


@given(options=json_values | st.dictionaries(names, json_values))
def test_any_options_are_survived(options: object) -> None:
    settings, errors = load_settings((), options)
    assert isinstance(settings, ServerSettings)
    assert all(str(error) for error in errors)
