"""`gradtracer audit`: a real training's audit, and files that hold something else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradtracer_schemas import AuditLine, MeasuredEffect
from patience import PATIENCE

from .conftest import Command

TRAINING = """
import torch, gradtracer
from gradtracer.analyzers.embedding import EmbeddingTracker
sys_path = __import__("sys").path
sys_path.insert(0, {workspaces!r})
from alternating import alternate
torch.manual_seed(0)
table = torch.nn.Embedding(400, 16)
tracker = EmbeddingTracker(table, name="item_emb", auto_fix=True)
alternate(table, 700, bad=100)
tracker.run.finish()
print(tracker.run.id)
"""


def write(folder: Path, *lines: bytes | dict[str, object]) -> None:
    home = folder / ".gradtracer"
    home.mkdir(exist_ok=True)
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    (home / "audit.jsonl").write_bytes(b"".join(text + b"\n" for text in texts))


def line(**changes: object) -> dict[str, object]:
    given = {"timestamp": "2026-11-03T09:15:22+00:00", "run_id": "r1", "step": 256}
    return {**given, "layer": "item_emb", **changes}


def test_a_real_training_is_summarised(tmp_path: Path, command: Command, monkeypatch) -> None:
    script = tmp_path / "train.py"
    workspaces = str(Path(__file__).resolve().parents[2] / "workspaces")
    script.write_text(TRAINING.format(workspaces=workspaces))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    run = done.stdout.strip()
    monkeypatch.chdir(tmp_path)
    answer = command("audit")
    assert answer.status == 0
    heading, changes, arms, effect, reason = answer.out.splitlines()
    assert heading == f"item_emb, run {run}: shrinks updates"
    assert changes.startswith("    2 changes at steps 255 to 511, ")
    assert "77 rows treated by 0.30 on average, 23 held out" in arms
    assert effect.startswith("    measured effect (95 % at every look): noise energy ")
    assert reason.startswith("    ZOMBIE_EMBEDDINGS names ")
    (record,) = json.loads(command("audit", "--output-format", "json").out)
    assert record["run"] == run
    assert record["treated_rows"] + record["held_out_rows"] == pytest.approx(100, abs=5)
    assert {each["statistic"] for each in record["effects"]} == {
        "noise_energy",
        "update_efficiency",
    }


def test_runs_and_tables_are_chosen(tmp_path: Path, command: Command, monkeypatch) -> None:
    write(tmp_path, line(), line(run_id="r2"), line(run_id="r2", layer="user_emb"))
    monkeypatch.chdir(tmp_path)
    assert len(json.loads(command("audit", "--output-format", "json").out)) == 3
    out = command("audit", "--run", "r2", "--layer", "user_emb", "--output-format", "json").out
    (record,) = json.loads(out)
    assert (record["run"], record["layer"]) == ("r2", "user_emb")


def test_harm_and_what_was_measured_are_told(tmp_path: Path, command: Command, monkeypatch) -> None:
    effect = MeasuredEffect(
        statistic="noise_energy",
        difference=0.2,
        interval=(0.05, 0.35),
        level=0.95,
        n_treated=80,
        n_held_out=20,
    )
    words = "it does harm: noise energy +22 % [+5, +42] in the treated rows"
    last = AuditLine(
        **line(step=900), action="stop", held_out_rows=20, reason=words, effects=[effect]
    )
    import msgspec

    write(tmp_path, line(action="shrink-updates"), msgspec.json.encode(last))
    monkeypatch.chdir(tmp_path)
    out = command("audit").out
    assert "item_emb, run r1: has stopped" in out
    assert "noise energy +22 % [+5, +42]" in out
    assert words in out


def test_what_a_script_wrote_itself_is_told(tmp_path: Path, command: Command, monkeypatch) -> None:
    made = {"type": "zombie_penalty", "num_affected": 3, "indices": [1, 2, 3], "scales": [0.1] * 3}
    write(tmp_path, line(**made))
    monkeypatch.chdir(tmp_path)
    assert "item_emb, run r1: zombie_penalty" in command("audit").out


def test_torn_lines_and_other_things_are_left_out(
    tmp_path: Path, command: Command, monkeypatch, caplog
) -> None:
    write(tmp_path, b"{", b"[1]", b'{"step": "x"}', b"\xff", line(layer="a\x1b[31mb"))
    monkeypatch.chdir(tmp_path)
    answer = command("audit")
    assert answer.status == 0
    assert "\x1b" not in answer.out
    assert answer.out.startswith("a")
    assert "4 lines are no audit lines" in caplog.text


def test_without_an_audit_it_says_where_one_comes_from(command: Command) -> None:
    answer = command("audit")
    assert answer.status == 0
    assert "auto_fix=True" in answer.out


def test_a_path_that_is_not_there_is_named(command: Command) -> None:
    answer = command("audit", "nowhere")
    assert answer.status == 2
    assert "'nowhere'" in answer.err
