"""What a person sees when something is not as it should be."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from run_factory import RunFactory
from workbench import Workbench

OpenFolder = Callable[..., Workbench]
RUNS = 50


@pytest.fixture
def project(tmp_path: Path) -> RunFactory:
    return RunFactory(tmp_path / "project")


def test_an_interpreter_without_the_server_is_offered_the_command(
    project: RunFactory, open_folder: OpenFolder, tmp_path: Path
) -> None:
    # -S: a Python that has nothing installed, whatever this machine has.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    bench = open_folder(project.root, {"gradtracer.interpreter": str(bare)})
    bench.open("train.py")
    expect(bench.notifications).to_contain_text(f"GradTracer is not installed in {bare}")
    expect(bench.notifications).to_contain_text(
        '-m pip install --upgrade "gradtracer[server]>=1,<2"'
    )
    expect(bench.notifications.get_by_role("button", name="Copy Command")).to_be_visible()
    bench.picture("offer")
    bench.page.keyboard.press("Escape")

    # Both with all that the server needs, and only their own word for their version.
    for version, told in (
        ("0.9.2", "This extension needs gradtracer 1.x, and it is 0.9.2"),
        ("7.0.0", "gradtracer 7.0.0 is newer than this extension, which knows 1.x"),
    ):
        metadata = tmp_path / version / f"gradtracer-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: gradtracer\nVersion: {version}\n")
        other = tmp_path / f"python-{version}"
        other.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / version} exec {sys.executable} "$@"\n')
        other.chmod(0o755)
        bench.set("gradtracer.interpreter", str(other))
        expect(bench.language_status).to_contain_text(told)
        bench.picture(f"version-{version}")
    assert bench.errors == []


def test_a_setting_that_names_no_program_is_named(
    project: RunFactory, open_folder: OpenFolder
) -> None:
    bench = open_folder(project.root, {"gradtracer.interpreter": "/no/such/python"})
    bench.open("train.py")
    expect(bench.language_status).to_contain_text("GradTracer has no Python")
    expect(bench.language_status).to_contain_text("gradtracer.interpreter names no program")
    bench.picture("status")
    expect(bench.notifications).to_have_count(0)
    assert bench.errors == []


def test_fifty_runs_are_listed_and_one_may_vanish_while_it_is_shown(
    project: RunFactory, open_folder: OpenFolder
) -> None:
    for minute in range(RUNS):
        project.finished("DEAD_EMBEDDINGS", run_id=f"20260101-00{minute:02}00-aaaaaa")
    bench = open_folder(project.root)
    bench.view("GradTracer")
    runs = bench.tree.filter(has_text="train.py")
    expect(runs.first).to_be_visible()
    expect(bench.tree.first).to_have_attribute("aria-setsize", str(RUNS))
    bench.picture("fifty")
    runs.first.hover()
    runs.first.get_by_role("button", name="Open Inspector").click()
    page = bench.webview()
    expect(page.get_by_role("heading", level=1)).to_contain_text("train.py")
    for folder in (project.root / ".gradtracer" / "runs").iterdir():
        shutil.rmtree(folder)
    expect(page.get_by_role("status").first).to_contain_text("This run was deleted")
    expect(bench.page.get_by_text("No training was watched in this workspace yet.")).to_be_visible()
    bench.picture("gone")
    assert bench.errors == []


def test_a_folder_without_python_starts_no_server(tmp_path: Path, open_folder: OpenFolder) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "notes.md").write_text("# Notes\n")
    bench = open_folder(folder)
    bench.open("notes.md")
    bench.view("GradTracer")
    expect(bench.page.get_by_text("No training was watched in this workspace yet.")).to_be_visible()
    expect(bench.notifications).to_have_count(0)
    bench.picture("welcome")

    # A narrow editor leaves the picture out.
    bench.page.keyboard.press("Control+b")
    bench.command("GradTracer: Get Started")
    bench.page.get_by_role("button", name="Read what is found").click()
    shown = bench.page.frame_locator("iframe.webview.ready").frame_locator("iframe#active-frame")
    expect(shown.get_by_role("img")).to_have_js_property("naturalWidth", 1280)
    bench.picture("walkthrough")
    assert bench.errors == []
