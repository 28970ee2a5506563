"""The example as a user's project of its own, trained in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """`movielens_mf.py` in a folder that holds nothing else but its loader."""
    project = (tmp_path / "recommender").resolve()
    project.mkdir()
    for name in ("movielens_mf.py", "movielens.py"):
        shutil.copy(EXAMPLES / name, project / name)
    (project / "pyproject.toml").write_text("[project]\nname = 'recommender'\n")
    return project / "movielens_mf.py"


@pytest.fixture
def train(example: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the training; what still runs when the test ends is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GRADTRACER_OFFLINE": "1"}
        environment.pop("GRADTRACER_FOLDER", None)
        process = subprocess.Popen(
            [sys.executable, str(example), *arguments],
            cwd=example.parent,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
