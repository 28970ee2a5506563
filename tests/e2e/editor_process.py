"""Runs an editor of a distribution, headless, with a driver that reports what it saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from patience import PATIENCE


def drive(
    command: list[str], home: Path, root: Path, file: Path, *, code: str, action: str
) -> dict[str, Any]:
    """Run the editor with a home of its own; its report, with a `problem` where it failed."""
    home.mkdir()
    told = home / "report.json"
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "GT_SERVER": json.dumps([sys.executable, "-m", "gradtracer_server", "serve"]),
        "GT_ROOT": str(root),
        "GT_FILE": str(file),
        "GT_CODE": code,
        "GT_ACTION": action,
        "GT_REPORT": str(told),
    }
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert told.exists(), f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    report: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    assert (done.returncode == 0) is ("problem" not in report), done.stderr[-2000:]
    return report
