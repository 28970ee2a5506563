"""A real VS Code with the packaged extension, driven through Chromium."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import code_server
import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from workbench import Workbench

from patience import PATIENCE

ROOT = Path(__file__).parents[3]
VSIX = ROOT / "client-vscode" / "dist" / "gradtracer.vsix"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = {
    "chat.disableAIFeatures": True,
    "editor.hover.delay": 100,
    "editor.minimap.enabled": False,
    "files.autoSave": "off",
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "remote.autoForwardPorts": False,
    "telemetry.telemetryLevel": "off",
    # Drawn as text, which can be read.
    "terminal.integrated.gpuAcceleration": "off",
    "update.mode": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
    "workbench.colorTheme": "Default Dark Modern",
}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

OpenFolder = Callable[..., Workbench]


@pytest.fixture(scope="module")
def vsix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged extension: a copy, as another process of the tests may package it anew."""
    npm = shutil.which("npm")
    if npm is None or not (ROOT / "node_modules" / ".bin" / "vsce").exists():
        pytest.skip("no VS Code: npm packages are not installed (npm ci)")
    with (ROOT / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [npm, "run", "package", "--workspace", "client-vscode"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return Path(shutil.copy(VSIX, tmp_path_factory.mktemp("packaged")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("no VS Code: Chromium is not installed (apt-get install chromium)")
    if not code_server.installed():
        pytest.skip("no VS Code: it is not built (python tests/e2e/vscode/code_server.py)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_folder(
    vsix: Path, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[OpenFolder]:
    """Open a folder in an editor of its own: `open_folder(folder, {"gradtracer.…": …})`."""
    home = tmp_path / "editor"
    command = [str(code_server.NODE), str(code_server.ENTRY)]
    command += ["--config", str(home / "config.yaml")]
    command += ["--user-data-dir", str(home / "data"), "--extensions-dir", str(home / "extensions")]
    environment = os.environ | {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    started: list[subprocess.Popen[str]] = []
    benches: list[Workbench] = []

    def start(
        folder: Path, settings: dict[str, Any] | None = None, user: dict[str, Any] | None = None
    ) -> Workbench:
        home.mkdir()
        (home / "config.yaml").touch()
        # Where programs are named the editor takes the settings of the machine they run on.
        machine = {"gradtracer.interpreter": sys.executable, **(settings or {})}
        for place, chosen in (("User", {**QUIET, **(user or {})}), ("Machine", machine)):
            file = home / "data" / place / "settings.json"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(chosen), encoding="utf-8")
        subprocess.run(
            [*command, "--install-extension", str(vsix)],
            env=environment,
            capture_output=True,
            check=True,
        )
        arguments = ["--auth", "none", "--bind-addr", "127.0.0.1:0", "--disable-telemetry"]
        arguments += ["--disable-update-check", "--disable-workspace-trust"]
        process = subprocess.Popen(
            [*command, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        page = context.new_page()
        settings_file = home / "data" / "Machine" / "settings.json"
        bench = Workbench(page, request.node.name.removeprefix("test_"), settings_file)
        benches.append(bench)
        page.goto(f"{_address(process)}/?folder={folder}")
        page.locator(".monaco-workbench").wait_for()
        page.locator(".explorer-folders-view .monaco-list-row").first.wait_for()
        return bench

    yield start
    for bench in benches:
        bench.picture("end")
        bench.page.context.close()
    for process in started:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def _address(process: subprocess.Popen[str]) -> str:
    """Where the editor listens, once it does; its output goes on to nowhere."""
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"HTTP server listening on (http://[\d.]+:\d+)", line):
            return found[1]
    raise AssertionError("".join(said))
