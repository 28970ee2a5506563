"""`gradtracer watch`: what a terminal shows while a training goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.console import Console
from run_factory import RunFactory, WaitUntil

from gradtracer_server.headless.watch import Follower
from gradtracer_server.render.live_view import live_view
from gradtracer_server.runbook import RunBook
from patience import PATIENCE


def shown(follower: Follower, **options: object) -> str:
    console = Console(width=100, record=True, file=open(os.devnull, "w"), **options)  # type: ignore[arg-type]  # noqa: PTH123, SIM115
    console.print(live_view(follower.runs))
    console.file.close()
    return console.export_text()


@pytest.fixture(autouse=True)
def _in_the_project(project: RunFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)


def follow(project: RunFactory) -> Follower:
    return Follower(RunBook([project.root]))


def test_each_change_is_a_line(project: RunFactory) -> None:
    follower = follow(project)
    assert follower.look() == []
    run = project.start()
    run.watch_layers()
    run.progress(step=100)
    assert follower.look() == [
        f"train.py: run {run.id} began, 2 layers watched",
        "train.py: step 100 of 1,000, loss 0.420, 50 steps/s",
    ]
    assert follower.look() == []
    diagnosis = run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    (line,) = follower.look()
    assert line.startswith("train.py: ZOMBIE_EMBEDDINGS item_emb: 41 of 1,000 rows")
    run.clear(diagnosis, step=100)
    assert follower.look()[0] == "train.py: ZOMBIE_EMBEDDINGS:item_emb no longer holds"
    run.end()
    assert follower.look() == ["train.py: finished at step 300 of 1,000."]
    assert follower.look() == []


def test_runs_that_ended_before_are_not_followed(project: RunFactory) -> None:
    project.finished()
    follower = follow(project)
    assert follower.look() == []
    assert follower.runs == []


def test_screen_shows_progress_sparklines_and_diagnoses(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    for step in range(100, 600, 100):
        run.observe("item_emb", step=step, effective_rank=64 - step / 10)
        run.progress(step=step)
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", step=500)
    follower = follow(project)
    assert "Waiting for a training to begin." in shown(follower)
    follower.look()
    text = shown(follower)
    for expected in (
        "train.py",
        "live",
        "step 500 of 1,000 (50 %)",
        "50 steps/s, 10 s left",
        "Effective rank 14 █▆▅▃▁",
        "ZOMBIE_EMBEDDINGS item_emb: 41 of 1,000 rows",
        "look at the examples behind the named rows.",
    ):
        assert expected in text
    run.fail(step=500)
    follower.look()
    assert "failed with IndexError" in shown(follower)


def test_screen_does_not_obey_a_journal(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    run.diagnose(
        "ZOMBIE_EMBEDDINGS",
        "[red]x[/red]\x1b[2J",
        site=project.layer_site("item_emb"),
        premise="[link=http://x]y[/link]\x07",
    )
    follower = follow(project)
    follower.look()
    text = shown(follower)
    assert "[red]x[/red]" in text
    assert "[link=http://x]y[/link]" in text
    assert "\x07" not in text


def test_screen_without_colour_is_plain(
    project: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = project.start()
    run.watch_layers()
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    follower = follow(project)
    follower.look()
    console = Console(width=100, force_terminal=True, _environ=os.environ)
    with console.capture() as captured:
        console.print(live_view(follower.runs))
    assert "\x1b[3" not in captured.get()


@pytest.mark.parametrize(("outcome", "status"), [("finished", 0), ("failed", 1)])
def test_once_ends_with_the_training_and_its_outcome(
    project: RunFactory, wait_until: WaitUntil, outcome: str, status: int
) -> None:
    run = project.start()
    run.watch_layers()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "gradtracer_server", "watch", "--once"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "began, 2 layers watched" in process.stdout.readline()
    if outcome == "failed":
        run.fail()
    else:
        run.end()
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=PATIENCE) == status
    assert outcome in rest
    assert "\x1b" not in rest


def test_waiting_is_said_and_keeps_out_of_the_lines(project: RunFactory) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "gradtracer_server", "watch"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "no training is running here: waiting for one" in process.stderr.readline()
    process.terminate()
    out, _ = process.communicate(timeout=PATIENCE)
    assert out == ""
