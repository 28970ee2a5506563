"""The commands that people and CI are told to run exist, and installs name no one's machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def targets() -> set[str]:
    """Targets of the Makefile that carry a text for `make help`."""
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))


def commands(document: str) -> set[str]:
    """Targets that a document tells its reader to make."""
    return set(re.findall(r"\bmake ([a-z-]+)\b(?=`|\s{2,}|$)", document, re.M))


DOCUMENTS = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "tests/bench/README.md"]


def scripts(document: str) -> set[str]:
    """Files that a document tells its reader to run with Python."""
    return set(re.findall(r"\bpython ((?:examples|tests|schemas)/\S+\.py)", document))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_a_document_names_exists(name: str) -> None:
    document = (ROOT / name).read_text(encoding="utf-8")
    assert commands(document) - targets() == set()
    assert {script for script in scripts(document) if not (ROOT / script).is_file()} == set()


def test_a_command_that_does_not_exist_is_seen() -> None:
    assert commands("Run `make tset`, then\nmake setup   # first") == {"tset", "setup"}
    assert commands("`make bench-site`") == {"bench-site"}
    assert scripts("(`python tests/bench/bench.py --pairs 3`)") == {"tests/bench/bench.py"}


def test_ci_runs_what_a_developer_runs() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"


def test_help_says_what_each_target_does() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make ([a-z-]+)\s+\S", told.stdout, re.M)) == targets()


def test_lockfile_names_no_registry() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    fetched = [it for it in lock["packages"].values() if "resolved" in it and not it.get("link")]
    assert fetched == []


def test_constraints_are_exact_and_sorted_behind_torch() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][^\s+]*", pin) for pin in pins)
    names = [re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins]
    assert names[0] == "torch"
    assert names[1:] == sorted(names[1:])
