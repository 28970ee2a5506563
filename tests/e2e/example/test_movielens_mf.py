"""The example as a user runs it: a process of its own, on a machine without the real data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import movielens
from patience import PATIENCE

SCRIPT = Path(movielens.__file__).with_name("movielens_mf.py")
METRIC = re.compile(r"^(validation|test)\s+NDCG@10 (0\.\d{4})  HR@10 ([01]\.\d{4})$", re.MULTILINE)


def run_example(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GRADTRACER_FOLDER": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.usefixtures("bare_machine")
def test_training_prints_both_metrics_and_says_that_the_set_is_generated(tmp_path: Path) -> None:
    done = run_example(tmp_path, "--no-watch", "--epochs", "1", "--dim", "8", "--lr", "3e-2")
    assert done.returncode == 0, done.stderr
    metrics = {name: (float(ndcg), float(hr)) for name, ndcg, hr in METRIC.findall(done.stdout)}
    assert list(metrics) == ["validation", "test"]
    assert all(0 <= ndcg <= hr <= 1 for ndcg, hr in metrics.values())
    assert "generated set" in done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "generated set" in done.stderr


@pytest.mark.usefixtures("bare_machine")
def test_progress_bar_reaches_the_end_on_stderr_only(tmp_path: Path) -> None:
    done = run_example(tmp_path, "--no-watch", "--epochs", "1", "--dim", "8", "--progress")
    assert "100%  epoch 1/1" in done.stderr
    assert "\r" not in done.stdout


@pytest.mark.usefixtures("bare_machine")
def test_patience_keeps_the_best_epoch(tmp_path: Path) -> None:
    arguments = ["--no-watch", "--epochs", "9", "--dim", "8", "--lr", "0", "--patience", "1"]
    done = run_example(tmp_path, *arguments)
    assert len(re.findall(r"^epoch ", done.stdout, re.MULTILINE)) == 2
    assert "kept epoch 1" in done.stdout


@pytest.mark.usefixtures("bare_machine")
def test_wrong_file_ends_with_one_clear_line(tmp_path: Path) -> None:
    wrong = tmp_path / "u.data"
    wrong.write_text("1\t2\t3\t4\n", encoding="utf-8")
    done = run_example(tmp_path, "--no-watch", "--data", str(wrong))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert str(wrong) in done.stderr
    assert "expected table sha256" in done.stderr


@pytest.mark.usefixtures("bare_machine")
def test_watched_training_leaves_a_journal_and_the_same_metrics(tmp_path: Path) -> None:
    arguments = ["--epochs", "1", "--dim", "8", "--lr", "3e-2"]
    watched = run_example(tmp_path, *arguments)
    alone = run_example(tmp_path, "--no-watch", *arguments)
    assert watched.returncode == 0, watched.stderr
    assert METRIC.findall(watched.stdout) == METRIC.findall(alone.stdout)
    journals = list((tmp_path / ".gradtracer" / "runs").glob("*/events.jsonl"))
    assert len(journals) == 1
    bodies = journals[0].read_text(encoding="utf-8")
    for expected in ("user_emb", "item_emb", "movielens_mf.py", "validation_ndcg_at_10"):
        assert expected in bodies
