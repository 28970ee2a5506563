"""The original system, version 0.9.0, in an environment of its own under `build/`.

Its import name is ours too, and it does not name all that it imports. torch and what else is there
already come from this environment by a `.pth` file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / "build" / "original"
WANTED = ("gradtracer==0.9.0", "seaborn", "scikit-learn", "statsmodels")


class OriginalMissing(Exception):
    """It cannot be had here; the message says why."""


def original_python() -> Path:
    """The interpreter that imports the original; made at the first call, and where more is wanted.

    Raises:
        OriginalMissing: no network, or an index without it.
    """
    python = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = HOME / ".ready"
    if ready.exists() and ready.read_text() == " ".join(WANTED):
        return python
    venv.create(HOME, with_pip=True, clear=True)
    place = {"base": str(HOME), "platbase": str(HOME)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=place))
    # A path in a .pth file is searched last, and its own .pth files (such as ours) are not read.
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "ours.pth").write_text("\n".join(ours) + "\n", encoding="utf-8")
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", *WANTED],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OriginalMissing(f"pip install {' '.join(WANTED)}: {done.stderr.strip()[-300:]}")
    ready.write_text(" ".join(WANTED))
    return python


def ask(
    python: Path | str, script: Path, *arguments: object, allocator: dict[str, str] | None = None
) -> dict[str, float]:
    """Run a script that prints one line of JSON, in an empty folder, on one thread."""
    folder = HOME.parent / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADTRACER_FOLDER": str(folder)}
    done = subprocess.run(
        [str(python), "-W", "ignore", str(script), *map(str, arguments)],
        cwd=folder,
        env={**environment, **(allocator or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OriginalMissing(done.stderr.strip().splitlines()[-1][:200])
    return json.loads(done.stdout.splitlines()[-1])


OURS = sys.executable
