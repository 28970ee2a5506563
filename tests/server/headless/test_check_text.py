"""`gradtracer check` for people: text, exit status, and what is said when there is nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from run_factory import RunFactory, of_protocol_2, statement_of

from gradtracer_schemas import (
    MAX_FRAME_BYTES,
    DiagnosisRaisedEvent,
    LayerWatched,
    Observation,
    ProbeFault,
    Progress,
    SourceSite,
)

from .conftest import Command

TEST = "von Neumann ratio, Benjamini-Hochberg"
ROWS = "Rows 7, 12, 99 and 38 more."
DEFINITION = statement_of("item_emb")


def edit(project: RunFactory, old: str, new: str) -> None:
    text = project.script.read_text(encoding="utf-8")
    assert old in text
    project.script.write_text(text.replace(old, new), encoding="utf-8")


def test_finding_is_one_line_with_its_place_and_its_test(
    project: RunFactory, command: Command
) -> None:
    project.finished()
    answer = command("check")
    assert answer.status == 1
    assert answer.out.splitlines()[:2] == [
        "train.py:10:25: ZOMBIE_EMBEDDINGS item_emb: 41 of 1,000 rows of item_emb move much and "
        f"get nowhere. {ROWS} [confidence 0.98, {TEST}]",
        "    look at the examples behind the named rows.",
    ]
    assert "1 finding." in answer.out
    assert "finished at step 300 of 1,000" in answer.out
    assert answer.err == ""


def test_run_without_diagnoses_is_clean(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.end()
    answer = command("check")
    assert answer.status == 0
    assert answer.out.startswith("No findings.\n")


def test_run_that_watched_no_layer_is_not_merely_clean(
    project: RunFactory, command: Command
) -> None:
    run = project.start()
    said = f"    Run {run.id} watched no layer"
    assert f"{said} yet: nothing could be found.\n" in command("check").out
    run.end()
    assert f"{said}: nothing could be found.\n" in command("check").out
    project.finished()
    assert "watched no layer" not in command("check").out


def test_no_runs_at_all_says_where_it_looked_and_what_to_do(
    project: RunFactory, command: Command
) -> None:
    answer = command("check")
    assert answer.status == 0
    assert "No runs found" in answer.out
    assert str(project.root) in answer.out
    assert "gradtracer.watch(model" in answer.out


def test_path_that_is_not_there_is_a_usage_error(project: RunFactory, command: Command) -> None:
    project.finished()
    answer = command("check", "nowhere.py")
    assert answer.status == 2
    assert answer.out == ""
    assert answer.err == (
        "gradtracer: expected a file or a folder, got 'nowhere.py': there is none\n"
    )


@pytest.mark.parametrize(("path", "status"), [("train.py", 1), (".", 1), ("other", 0)])
def test_paths_limit_the_report(
    project: RunFactory, command: Command, path: str, status: int
) -> None:
    project.finished()
    (project.root / "other").mkdir()
    assert command("check", path).status == status


def test_project_can_be_named_from_elsewhere(
    project: RunFactory, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.finished()
    monkeypatch.chdir(tmp_path)
    assert command("check", "project").out.startswith("project/train.py:10:25: ")


def test_subfolder_of_a_project_means_the_project(
    project: RunFactory, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.finished()
    inner = project.root / "notebooks"
    inner.mkdir()
    monkeypatch.chdir(inner)
    answer = command("check")
    assert answer.status == 1
    assert answer.out.startswith("../train.py:10:25: ")


def test_what_is_not_shown_is_counted_with_its_reason(
    project: RunFactory, command: Command
) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    edit(project, DEFINITION, f"{DEFINITION}  # gradtracer: ignore[ZOMBIE_EMBEDDINGS]")
    assert "1 finding.\nNot shown: 1 suppressed.\n" in command("check").out
    edit(project, DEFINITION, "self.item_emb = nn.Embedding(1000, 24)")
    answer = command("check")
    assert answer.status == 0
    assert "2 outdated (the source was edited since: train again)" in answer.out


@pytest.mark.parametrize("known", [True, False])
def test_finding_outside_the_workspace_is_told_without_a_place(
    project: RunFactory, command: Command, known: bool
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    frame = project.layer_site("item_emb").frames[0]
    outside = msgspec.structs.replace(frame, file="/usr/lib/model.py")
    site = SourceSite(frames=[outside] if known else [])
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", site=site)
    answer = command("check")
    assert answer.status == 1
    where = "outside the workspace" if known else "no line known"
    assert answer.out.startswith(f"{where}: ZOMBIE_EMBEDDINGS item_emb: ")


def test_layers_of_which_no_line_was_recorded_are_named_with_what_records_them(
    project: RunFactory, command: Command
) -> None:
    project.finished("ZOMBIE_EMBEDDINGS")
    assert "No line is known" not in command("check").out
    run = project.start()
    run.watch_layers()
    run.emit(
        LayerWatched(
            layer="built_before", type="Embedding", shape=[9, 2], dtype="float32", device="cpu"
        )
    )
    run.observe("item_emb")
    assert (
        "No line is known of built_before: where layers are built is recorded from the import of "
        "gradtracer on, so import it before that." in command("check").out
    )


def test_layers_built_on_one_line_share_a_finding(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    diagnosis = run.diagnosis("ZOMBIE_EMBEDDINGS", "item_emb")
    for number in range(12):
        layer = f"tables.{number}"
        same = msgspec.structs.replace(
            diagnosis, id=f"ZOMBIE_EMBEDDINGS:{layer}@{run.id}", layer=layer
        )
        run.emit(same, cls=DiagnosisRaisedEvent)
    answer = command("check")
    premise = f"41 of 1,000 rows of item_emb move much and get nowhere. {ROWS}"
    assert answer.out.splitlines()[:6] == [
        "train.py:10:25: ZOMBIE_EMBEDDINGS tables.0, tables.1, tables.2 and 9 more: "
        "12 layers, as follows",
        *(f"    tables.{number}: {premise} [confidence 0.98, {TEST}]" for number in range(3)),
        "    and 9 more layers",
        "    look at the examples behind the named rows.",
    ]
    assert answer.out.count("train.py:10:25") == 1
    assert "12 findings." in answer.out


def test_layers_on_one_line_keep_their_own_figures_and_actions(
    project: RunFactory, command: Command
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    site = project.layer_site("item_emb")
    for number in (1, 12):
        run.diagnose(
            "REPRESENTATION_COLLAPSE",
            f"tables.{number}",
            site=site,
            premise=f"effective rank of tables.{number} is {number}.5",
            action=f"try embedding_dim={number}",
            confidence=number / 20,
        )
    assert command("check").out.splitlines()[1:5] == [
        f"    effective rank of tables.1 is 1.5. {ROWS} [confidence 0.05, {TEST}]",
        "        try embedding_dim=1.",
        f"    effective rank of tables.12 is 12.5. {ROWS} [confidence 0.60, {TEST}]",
        "        try embedding_dim=12.",
    ]


def test_one_trouble_is_told_in_the_singular(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.write(b"{torn\n")
    run.seq += 1
    run.progress(step=1)
    out = command("check").out
    assert "1 of its events is missing." in out
    assert "1 unreadable line in its journal was passed over: " in out


def test_fixes_are_listed_when_asked_for(project: RunFactory, command: Command) -> None:
    project.finished()
    plain, asked = command("check"), command("check", "--show-fixes")
    assert "    fix " not in plain.out
    assert "    fix enable-auto-fix (preferred): " in asked.out
    assert "    fix reduce-embedding-dim: " in asked.out


def test_live_and_vanished_runs_say_so(project: RunFactory, command: Command) -> None:
    project.start().progress(step=12)
    assert "running at step 12 of 1,000" in command("check").out
    project.start(script="other.py", pid=-1)
    assert "ended without a goodbye" in command("check").out


def test_failed_run_tells_why(project: RunFactory, command: Command) -> None:
    project.start().end("failed", reason="ValueError: no such column")
    assert "failed at step 300: ValueError: no such column\n" in command("check").out


def test_failed_run_names_its_exception_and_the_line_it_came_from(
    project: RunFactory, command: Command
) -> None:
    project.start().fail()
    said = "failed with IndexError at step 100 (train.py:13): index out of range in self\n"
    out = command("check").out
    assert said in out
    assert out.count("IndexError") == 1
    assert f"    {said}" in command("runs").out


def test_run_of_another_protocol_is_told(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.rewrite_start(of_protocol_2)
    said = (
        "written by protocol 2.0: "
        "update gradtracer in the environment of the editor or of the training\n"
    )
    answer = command("check")
    assert (answer.status, answer.out) == (0, f"run {run.id}: {said}")
    assert command("check", "--output-format", "json").err == answer.out
    _, row, reason = command("runs").out.splitlines(keepends=True)
    assert row.split()[:2] == [run.id, "unreadable"]
    assert reason == f"    {said}"


def test_run_damaged_at_its_start_is_shown_with_what_is_known(
    project: RunFactory, command: Command
) -> None:
    run = project.finished()
    run.rewrite_start(lambda line: line[:40])
    out = command("check").out
    assert out.startswith("train.py:10:25: ZOMBIE_EMBEDDINGS item_emb: ")
    assert f"unknown script, run {run.id}: finished at step 300" in out
    run.journal.write_bytes(b"{\n")
    assert f"run {run.id}: its journal cannot be read from the start\n" in command("check").out


def test_many_unreadable_runs_do_not_bury_the_findings(
    project: RunFactory, command: Command
) -> None:
    for _ in range(9):
        project.start().rewrite_start(of_protocol_2)
    project.finished()
    out = command("check").out
    assert out.count("written by protocol 2.0") == 3
    assert "and 6 older runs that cannot be read\n" in out
    assert "1 finding." in out


def test_troubles_of_a_run_are_told(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.write(b"{torn\n" + b"x" * (MAX_FRAME_BYTES + 10) + b"\n")
    run.seq += 2
    run.emit(ProbeFault(layer="item_emb", message="the hook of item_emb failed"))
    out = command("check").out
    assert "2 unreadable lines in its journal were passed over" in out
    assert "2 of its events are missing." in out
    assert "Probe: the hook of item_emb failed." in out


def test_journal_cannot_speak_to_the_terminal(project: RunFactory, command: Command) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\u2028\r\nnext: line"
    run = project.start(script=f"{evil}.py")
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose(
        "ZOMBIE_EMBEDDINGS",
        "item_emb",
        premise=evil,
        action=evil,
        evidence=[
            {"statistic": "s", "value": 1.0, "threshold": 0.0, "comparison": "above", "n": 1}
            | {"p_value": 0.5, "test": evil}
        ],
    )
    run.emit(ProbeFault(layer="", message=evil))
    run.end("failed", reason=evil)
    for arguments in (["check"], ["check", "--output-format", "json"], ["check", "--diff"]):
        answer = command(*arguments)
        for bad in "\x1b\x07\x9b\r\u202e\u2028":
            assert bad not in answer.out + answer.err
    assert not any(line.startswith("next") for line in command("check").out.splitlines())


def test_certainty_is_never_rounded_up_to(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", confidence=0.997)
    run.diagnose("POPULARITY_BIAS", "item_emb", confidence=1.0)
    out = command("check").out
    assert "[confidence >0.99, " in out
    assert "[confidence >0.999, " in out


def test_disabled_types_and_bad_settings_of_the_project_are_heard(
    project: RunFactory, command: Command
) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    (project.root / "pyproject.toml").write_text(
        "[tool.gradtracer.server]\ndisabled_types = ['POPULARITY_BIAS']\nshow = true\n"
    )
    answer = command("check")
    assert "POPULARITY_BIAS" not in answer.out
    assert "unknown setting 'show'; the nearest valid one is 'show_outdated'" in answer.err


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal needs POSIX")
@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_a_terminal_gets_colours_unless_it_asks_for_none(
    project: RunFactory, variables: dict[str, str], coloured: bool
) -> None:
    project.finished()
    ours, theirs = os.openpty()
    unset = {"NO_COLOR", "FORCE_COLOR"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    process = subprocess.Popen(
        [sys.executable, "-m", "gradtracer_server", "check"],
        cwd=project.root,
        env={**environment, "TERM": "xterm", **variables},
        stdout=theirs,
    )
    os.close(theirs)
    shown = _all_of(ours)
    assert process.wait() == 1
    assert ("\x1b[1;33mZOMBIE_EMBEDDINGS\x1b[0m" in shown) is coloured
    assert ("\x1b" in shown) is coloured


def test_colours_can_be_had_in_a_pipe(
    project: RunFactory, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.finished()
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in command("check").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;33mZOMBIE_EMBEDDINGS" in command("check").out
    assert "\x1b" not in command("check", "--output-format", "github").out


def _all_of(terminal: int) -> str:
    """What was written to a pseudo-terminal until its other end closed."""
    parts: list[bytes] = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(terminal)
    return b"".join(parts).decode()


@pytest.mark.parametrize("told", [True, False])
def test_what_could_not_be_judged_without_a_loss_is_said(
    project: RunFactory, command: Command, told: bool
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    loss = 0.4 if told else None
    run.emit(Progress(step=300, total_steps=None, steps_per_second=50.0, loss=loss), step=300)
    run.end()
    assert ("No loss was told" in command("check").out) is not told


@pytest.mark.parametrize("metric", ["training", "validation"])
def test_what_could_not_be_judged_without_held_out_examples_is_said(
    project: RunFactory, command: Command, metric: str
) -> None:
    run = project.start()
    run.emit(
        LayerWatched(
            layer="model",
            type="XGBClassifier",
            shape=[],
            dtype="",
            device="",
            site=project.layer_site("item_emb"),
        )
    )
    run.emit(Observation(layer="model", values={"rounds": 100.0, metric: 0.3}), step=100)
    said = "No metric of held-out examples was told"
    assert said not in command("check").out  # it may yet be
    run.end(step=100)
    assert (said in command("check").out) is (metric == "training")
