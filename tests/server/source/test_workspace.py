from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.source.workspace import Workspace


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "model.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "secret.py").write_text("y = 1\n", encoding="utf-8")
    return project


def test_a_file_inside_is_itself(project: Path) -> None:
    model = project / "src" / "model.py"
    assert Workspace([project]).resolve_file(str(model), str(project), project) == model


def test_a_file_of_a_tree_that_moved_is_found_where_it_is_now(project: Path) -> None:
    found = Workspace([project]).resolve_file("/old/home/src/model.py", "/old/home", project)
    assert found == project / "src" / "model.py"


def test_the_workspace_may_be_a_part_of_the_tree(project: Path) -> None:
    workspace = Workspace([project / "src"])
    found = workspace.resolve_file("/old/home/src/model.py", "/old/home", project)
    assert found == project / "src" / "model.py"
    (project / "top.py").write_text("z = 1\n", encoding="utf-8")
    assert workspace.resolve_file("/old/home/top.py", "/old/home", project) is None


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        "/old/home/../../etc/passwd",
        "/old/home/../secret.py",
        "/old/home/src/../../secret.py",
        "/old/homes/src/model.py",
        "src/model.py",
        "<ipython-input-3-abc>",
        "/old/home/src/missing.py",
        "/old/home/src",
        "/old/home/src/model.py\0",
        "/old/home/\ud83d.py",
        "/old/home/" + "a" * 5000,
        "",
    ],
)
def test_anything_else_is_nothing(project: Path, file: str) -> None:
    assert Workspace([project]).resolve_file(file, "/old/home", project) is None


@pytest.mark.parametrize("run_root", ["", "/", "relative", "/old/home/..", "\0"])
def test_an_odd_run_root_leads_nowhere(project: Path, run_root: str) -> None:
    assert Workspace([project]).resolve_file("/secret.py", run_root, project) is None


def test_a_link_that_leads_out_is_not_followed(project: Path, tmp_path: Path) -> None:
    (project / "link.py").symlink_to(tmp_path / "secret.py")
    (project / "up").symlink_to(tmp_path)
    workspace = Workspace([project])
    for name in ("link.py", "up/secret.py"):
        assert workspace.resolve_file(str(project / name), str(project), project) is None


def test_a_link_that_loops_is_nothing(project: Path) -> None:
    (project / "loop.py").symlink_to(project / "loop.py")
    assert Workspace([project]).resolve_file(str(project / "loop.py"), "", project) is None


def test_a_link_that_stays_inside_is_its_target(project: Path) -> None:
    (project / "again.py").symlink_to(project / "src" / "model.py")
    found = Workspace([project]).resolve_file(str(project / "again.py"), "", project)
    assert found == project / "src" / "model.py"


def test_a_file_is_named_by_the_root_as_the_user_opened_it(project: Path, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    opened.symlink_to(project)
    workspace = Workspace([opened])
    for root in (project, opened):
        recorded = str(root / "src" / "model.py")
        assert workspace.resolve_file(recorded, str(root), root) == opened / "src" / "model.py"


def test_a_path_outside_is_not_even_asked_about(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace([project])
    asked: list[str] = []
    for name in ("stat", "lstat", "readlink", "open"):
        real = getattr(os, name)

        def spy(path: object, *args: object, _real: object = real, **kwargs: object) -> object:
            asked.append(str(path))
            return _real(path, *args, **kwargs)  # type: ignore[operator]

        monkeypatch.setattr(os, name, spy)
    outside = "/net/host/share/model.py"
    assert workspace.resolve_file(outside, "/net/host", Path("/net/host")) is None
    assert not [path for path in asked if path.startswith("/net")]
    inside = str(project / "src" / "model.py")
    assert workspace.resolve_file(inside, str(project), project) is not None
    assert asked, "the spy sees what is asked about a path inside"


PARTS = st.lists(st.sampled_from(["..", ".", "", "src", "up", "model.py", "secret.py", "~"]))


@given(PARTS, PARTS, st.booleans())
def test_no_path_leads_outside(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], root: list[str], absolute: bool
) -> None:
    base = tmp_path_factory.mktemp("walk").resolve()
    project = base / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "model.py").touch()
    (base / "secret.py").touch()
    (project / "up").symlink_to(base)
    prefix = str(project) if absolute else "/old/home"
    file = "/".join([prefix, *parts])
    found = Workspace([project]).resolve_file(file, "/".join(["/old/home", *root]), project)
    assert found is None or (found.resolve().is_relative_to(project) and found.is_file())
