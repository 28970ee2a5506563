"""Where a run is kept: the folder of the project that the training script belongs to."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

FOLDER = ".gradtracer"
_MARKERS = (FOLDER, ".git", "pyproject.toml", "setup.py", "setup.cfg")


def main_script() -> Path | None:
    """The script that was started, resolved; None in a shell, a notebook or a library's CLI."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str):
        return None
    script = Path(file).resolve()
    if script.is_relative_to(Path(sys.prefix).resolve()) or not script.is_file():
        return None
    return script


def project_root(script: Path | None) -> Path:
    """Nearest folder above the script (or the working directory) that marks a project.

    Without any mark it is the script's own folder: that is what an editor opens.
    """
    start = script.parent if script is not None else Path.cwd()
    home = Path.home()
    for folder in (start, *start.parents):
        if folder == home:
            break
        if any((folder / marker).exists() for marker in _MARKERS):
            return folder
    return start


def runs_folder(root: Path) -> Path:
    """`.gradtracer/runs`, with a `.gitignore` that keeps runs out of version control."""
    folder = root / FOLDER
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError:
        # The stream says it once when the journal cannot be opened.
        pass
    return folder / "runs"


def new_run_id(now: float) -> str:
    """`YYYYMMDD-HHMMSS-xxxxxx` in UTC; sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{os.urandom(3).hex()}"
