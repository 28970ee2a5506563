"""Where a run is kept: the folder of the project that the training script belongs to."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from functools import lru_cache
from pathlib import Path

from gradtracer.cells import is_cell

FOLDER = ".gradtracer"
_MARKERS = (FOLDER, ".git", "pyproject.toml", "setup.py", "setup.cfg")


def main_script() -> Path | None:
    """The script that was started, resolved; None in a shell, a notebook or a library's CLI."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str):
        return None
    script = Path(file).resolve()
    return script if script.is_file() and not is_library_file(script) else None


@lru_cache(maxsize=4096)
def is_users_source(file: str) -> bool:
    """Whether someone wrote a file here: a script, a module of a project, or a notebook's cell."""
    return is_cell(file) or not is_library_file(file)


def is_library_file(file: str | Path) -> bool:
    """Whether a file belongs to Python itself or to an installed distribution.

    By the interpreter's own folders for those, not by its prefix: a project may lie below that.
    """
    if str(file).startswith("<"):
        return True
    path = Path(file)
    return any(path.is_relative_to(folder) for folder in _library_folders())


@lru_cache(maxsize=1)
def _library_folders() -> tuple[Path, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    named = [Path(path) for kind, path in sysconfig.get_paths().items() if kind in kinds]
    # A virtual environment takes the standard library from the interpreter it was made from.
    return tuple(dict.fromkeys([*named, *(folder.resolve() for folder in named)]))


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
