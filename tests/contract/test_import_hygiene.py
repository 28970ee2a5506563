"""What an import loads: the probe is light until used, and the commands need no LSP stack."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAINERS = {"torch", "xgboost", "lightgbm", "catboost"}
NOT_BY_THE_PROBE = TRAINERS | {"scipy", "pygls", "lsprotocol", "gradtracer_server"}
NOT_BY_A_COMMAND = TRAINERS | {"numpy", "scipy", "pygls", "lsprotocol", "gradtracer"}
NOT_BY_THE_TYPES = NOT_BY_A_COMMAND | {"zmq", "gradtracer_server"}


def loaded(statement: str, unwanted: set[str]) -> set[str]:
    """Which of the unwanted packages a fresh interpreter has loaded after the statement."""
    result = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return unwanted & set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import gradtracer_schemas", NOT_BY_THE_TYPES),
        ("import gradtracer", NOT_BY_THE_PROBE),
        ("import gradtracer.run, gradtracer.diagnoses.book", TRAINERS),
        ("import gradtracer\ngradtracer.TreeDynamicsTracker", NOT_BY_THE_PROBE),
        ("import gradtracer\ngradtracer.watch", NOT_BY_THE_PROBE),
        ("import gradtracer\ngradtracer.xgboost_callback()", {"torch"}),
        ("import gradtracer\ngradtracer.lightgbm_callback()", {"torch"}),
        ("import gradtracer\ngradtracer.catboost_callback()", {"torch"}),
        ("import gradtracer_server.__main__", NOT_BY_A_COMMAND),
        ("import gradtracer_server.headless.check", NOT_BY_A_COMMAND),
    ],
)
def test_import_loads_nothing_heavy(statement: str, unwanted: set[str]) -> None:
    assert loaded(statement, unwanted) == set()


def test_the_check_sees_what_is_loaded() -> None:
    assert loaded("import gradtracer\nimport scipy.stats", NOT_BY_THE_PROBE) == {"scipy"}
    assert loaded("import gradtracer, pygls", NOT_BY_THE_PROBE) == {"pygls"}
    assert loaded("import gradtracer, torch", NOT_BY_THE_PROBE) == {"torch"}
