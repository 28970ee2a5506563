"""Which run folders are found around a workspace, and which connections are trusted."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from run_factory import RunFactory, RunWriter

from gradtracer_server import discovery
from gradtracer_server.discovery import MAX_RUNS, find_runs, read_connection


def test_runs_of_the_root_are_found_newest_first(project: RunFactory) -> None:
    runs = [project.start().folder for _ in range(3)]
    assert find_runs([project.root]) == runs[::-1]


def test_runs_of_an_ancestor_are_found(project: RunFactory) -> None:
    run = project.start()
    package = project.root / "src" / "model"
    package.mkdir(parents=True)
    assert find_runs([package]) == [run.folder]


def test_ancestors_beyond_the_repository_are_not_looked_at(project: RunFactory) -> None:
    project.start()
    inner = project.root / "inner"
    (inner / ".git").mkdir(parents=True)
    assert find_runs([inner]) == []


@pytest.mark.parametrize(
    ("below", "found"),
    [
        ("a", True),
        ("a/b/c", True),
        ("a/b/c/d", False),
        (".hidden", False),
        ("node_modules", False),
        ("venv/lib", False),
    ],
)
def test_folders_below_are_searched_to_a_depth(tmp_path: Path, below: str, found: bool) -> None:
    (tmp_path / ".git").mkdir()
    run = RunFactory(tmp_path / below).start()
    assert find_runs([tmp_path]) == ([run.folder] if found else [])


def test_virtual_environment_of_any_name_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    RunFactory(tmp_path / "py311").start()
    assert len(find_runs([tmp_path])) == 1
    (tmp_path / "py311" / "pyvenv.cfg").touch()
    assert find_runs([tmp_path]) == []


def test_roots_that_share_an_ancestor_find_a_run_once(project: RunFactory) -> None:
    run = project.start()
    roots = [project.root / "a", project.root / "b"]
    for root in roots:
        root.mkdir()
    assert find_runs(roots) == [run.folder]


def test_the_newest_runs_alone_are_kept(project: RunFactory) -> None:
    runs = [project.start().folder for _ in range(MAX_RUNS + 5)]
    assert find_runs([project.root]) == runs[::-1][:MAX_RUNS]


def test_huge_trees_are_not_searched_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    RunFactory(tmp_path / "a" / "b").start()
    assert len(find_runs([tmp_path])) == 1
    monkeypatch.setattr(discovery, "MAX_FOLDERS", 1)
    assert find_runs([tmp_path]) == []


@pytest.mark.parametrize("level", ["run", "runs", ".gradtracer"])
def test_links_are_not_followed(project: RunFactory, tmp_path: Path, level: str) -> None:
    writer = project.start()
    target = {"run": writer.folder, "runs": writer.folder.parent}.get(
        level, writer.folder.parent.parent
    )
    elsewhere = tmp_path / "elsewhere"
    target.rename(elsewhere)
    target.symlink_to(elsewhere)
    assert find_runs([project.root]) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_runs_of_another_user_are_not_read(
    project: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = project.start()
    owner = run.folder.stat().st_uid
    assert discovery._runs_of(project.root, frozenset({owner})) == [run.folder]
    assert discovery._runs_of(project.root, frozenset({owner + 1})) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_user_root_and_owner_of_the_workspace_are_believed(tmp_path: Path) -> None:
    owners = discovery._trusted_owners(tmp_path)
    assert owners == {os.getuid(), 0, tmp_path.stat().st_uid}


def test_missing_root_has_no_runs(tmp_path: Path) -> None:
    assert find_runs([tmp_path / "nowhere"]) == []


def test_connection_of_a_live_run_is_read(live_run: RunWriter) -> None:
    connection = read_connection(live_run.folder)
    assert connection is not None
    assert connection.run == live_run.id


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"events": "tcp://192.0.2.1:5555"}, "loopback"),
        ({"run": "20250101-000000-other"}, "expected run"),
        ({"server_key": "short"}, "40"),
        ({"pid": "many"}, "pid"),
    ],
)
def test_connection_that_must_not_be_used_is_refused_with_a_reason(
    live_run: RunWriter,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, object],
    complaint: str,
) -> None:
    path = live_run.folder / "connection.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | change))
    assert read_connection(live_run.folder) is None
    assert complaint in caplog.text


def test_remote_connection_is_read_where_the_user_allows_it(live_run: RunWriter) -> None:
    path = live_run.folder / "connection.json"
    content = msgspec.json.decode(path.read_bytes()) | {"events": "tcp://192.0.2.1:5555"}
    path.write_bytes(msgspec.json.encode(content))
    assert read_connection(live_run.folder, allow_remote=True) is not None


def test_connection_file_just_created_is_no_reason_to_complain(
    project: RunFactory, caplog: pytest.LogCaptureFixture
) -> None:
    run = project.start()
    (run.folder / "connection.json").touch()
    assert read_connection(run.folder) is None
    assert caplog.text == ""


def test_linked_connection_file_is_refused(live_run: RunWriter, tmp_path: Path) -> None:
    path = live_run.folder / "connection.json"
    path.rename(tmp_path / "connection.json")
    path.symlink_to(tmp_path / "connection.json")
    assert read_connection(live_run.folder) is None
