"""A run is kept in the project that its script belongs to."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch

from gradtracer.project import FOLDER, is_library_file, project_root
from patience import PATIENCE


@pytest.mark.parametrize("marker", [".git", "pyproject.toml", FOLDER, "setup.py"])
def test_the_nearest_marked_folder_above_the_script_is_the_root(
    tmp_path: Path, marker: str
) -> None:
    script = tmp_path / "project" / "src" / "deep" / "train.py"
    script.parent.mkdir(parents=True)
    (tmp_path / "project" / marker).touch()
    assert project_root(script) == tmp_path / "project"


def test_an_unmarked_script_is_its_own_project(tmp_path: Path) -> None:
    assert project_root(tmp_path / "train.py") == tmp_path


def test_a_shells_project_is_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_root(None) == tmp_path


def test_pythons_and_distributions_files_are_libraries() -> None:
    assert is_library_file(torch.__file__)
    assert is_library_file(subprocess.__file__)
    assert is_library_file("<frozen importlib._bootstrap>")
    assert not is_library_file(__file__)


def test_a_project_below_the_interpreters_prefix_is_no_library() -> None:
    # As in a container whose work folder lies under /usr, or with a .venv around the code.
    prefix = Path(sysconfig.get_paths()["data"])
    assert not is_library_file(prefix / "src" / "app" / "train.py")
    assert not is_library_file(f"{prefix}-train/train.py")


def test_the_base_interpreters_library_is_one_in_a_virtual_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import json\n"
        "from gradtracer.project import is_library_file; print(is_library_file(json.__file__))"
    )
    python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stdout == "True\n", done.stderr
