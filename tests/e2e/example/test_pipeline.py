"""The pipeline example: its commands are run as the workflow runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that holds the examples."""
    shutil.copytree(
        EXAMPLES,
        tmp_path / "examples",
        ignore=shutil.ignore_patterns(".gradtracer", "__pycache__"),
    )
    return tmp_path


def run(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The step of the workflow, with its arguments."""
    workflow = yaml.safe_load((checkout / "examples/ci/gradtracer.yml").read_text())
    steps = workflow["jobs"]["train-small"]["steps"]
    (step,) = [each["run"] for each in steps if each.get("name") == "Train small and check"]
    tools = str(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", "-c", " ".join([step, *arguments])],
        cwd=checkout,
        env={
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_fails_on_what_is_new_and_passes_on_what_is_known(checkout: Path) -> None:
    baseline = checkout / "examples/ci/gradtracer-baseline.json"
    baseline.write_text('{"gradtracer_baseline": 1, "findings": []}\n')
    summary = checkout / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    failed = run(checkout, **github)
    assert failed.returncode == 1, failed.stderr
    assert "::warning file=movielens_mf.py,line=" in failed.stdout
    assert "| `REPRESENTATION_COLLAPSE` |" in summary.read_text()
    log = json.loads((checkout / "examples/gradtracer.sarif").read_text())
    states = {each["baselineState"] for each in log["runs"][0]["results"]}
    assert states == {"new"}
    assert "<svg" in (checkout / "examples/gradtracer.html").read_text()

    accepted = run(checkout, "--accept")
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(baseline.read_text())["findings"]
    passed = run(checkout, **github)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "No new findings." in passed.stdout


def test_a_training_that_fails_fails_the_pipeline(checkout: Path) -> None:
    failed = run(checkout, TRAIN="python movielens_mf.py --epochs nonsense")
    assert failed.returncode != 0
    assert not (checkout / "examples/gradtracer.sarif").exists()
