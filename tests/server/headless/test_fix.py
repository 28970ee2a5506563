"""`gradtracer fix`: which edits are made, which are left and why."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest
from run_factory import RunFactory

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.application import Change, Outcome
from gradtracer_server.fixes.registry import FIXES
from gradtracer_server.fixes.safety import SAFE
from gradtracer_server.headless.survey import Survey

from .conftest import Command

NARROW = [FixOffer(fix="reduce-embedding-dim", parameters={"embedding_dim": 24}, preferred=True)]


def text_of(project: RunFactory) -> str:
    return project.script.read_text(encoding="utf-8")


def collapsed(project: RunFactory, *layers: str) -> None:
    run = project.start()
    run.watch_layers()
    for layer in layers or ("item_emb",):
        run.observe(layer)
        run.diagnose("REPRESENTATION_COLLAPSE", layer, fixes=NARROW)
    run.end()


def test_safe_fix_is_made(project: RunFactory, command: Command) -> None:
    project.finished()
    answer = command("fix")
    assert answer.status == 0
    assert "auto_fix=True" in text_of(project)
    assert answer.out.splitlines() == [
        "train.py:10:25: ZOMBIE_EMBEDDINGS item_emb: "
        "Turn on auto_fix in the call of watch on line 15",
        "1 fix made in 1 file.",
        "Train again to see whether they helped.",
    ]
    assert command("check").status == 0


def test_what_changes_the_model_waits_for_unsafe(project: RunFactory, command: Command) -> None:
    collapsed(project)
    before = text_of(project)
    answer = command("fix")
    assert (answer.status, text_of(project)) == (1, before)
    assert "not without --unsafe" in answer.out
    assert command("fix", "--unsafe").status == 0
    assert "nn.Embedding(1000, 24)" in text_of(project)


def test_every_fix_that_is_called_safe_exists() -> None:
    assert FIXES.keys() >= SAFE
    assert "reduce-embedding-dim" not in SAFE


def test_diff_is_what_would_be_written(project: RunFactory, command: Command) -> None:
    collapsed(project, "user_emb", "item_emb")
    before = text_of(project)
    answer = command("fix", "--diff", "--unsafe")
    assert (answer.status, text_of(project)) == (1, before)
    subprocess.run(["git", "apply", "-"], input=answer.out.encode(), cwd=project.root, check=True)
    applied = text_of(project)
    assert applied.count("nn.Embedding(1000, 24)") == 2
    project.script.write_text(before, encoding="utf-8")
    assert command("fix", "--unsafe").status == 0
    assert text_of(project) == applied


def test_selection_limits_what_is_edited(project: RunFactory, command: Command) -> None:
    project.finished("ZOMBIE_EMBEDDINGS")
    before = text_of(project)
    answer = command("fix", "--select", "POPULARITY_BIAS")
    assert (answer.status, answer.out, text_of(project)) == (0, "Nothing to fix.\n", before)
    run = project.finished("ZOMBIE_EMBEDDINGS")
    answer = command("fix", "--select", f"ZOMBIE_EMBEDDINGS:item_emb@{run.id}")
    assert answer.status == 0
    assert text_of(project) != before


def test_one_fix_may_be_named(project: RunFactory, command: Command) -> None:
    project.finished()
    assert command("fix", "--fix", "suppress").status == 0
    assert "# gradtracer: ignore[ZOMBIE_EMBEDDINGS]" in text_of(project)
    assert "auto_fix" not in text_of(project)


def test_unknown_fix_names_the_nearest(project: RunFactory, command: Command) -> None:
    project.finished()
    answer = command("fix", "--fix", "enable-autofix")
    assert answer.status == 2
    assert "did you mean enable-auto-fix" in answer.err


def test_finding_without_a_fix_is_left_and_said(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("POPULARITY_BIAS", "item_emb", fixes=[])
    answer = command("fix")
    assert answer.status == 1
    assert "POPULARITY_BIAS item_emb: left: no fix is known for it" in answer.out


def test_read_only_file_fails_and_stays(project: RunFactory, command: Command) -> None:
    project.finished()
    before = text_of(project)
    project.script.chmod(0o444)
    answer = command("fix")
    assert (answer.status, text_of(project)) == (2, before)
    assert "train.py is read-only" in answer.err


def test_file_that_changes_meanwhile_is_left_alone(
    project: RunFactory, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.finished()
    apply = Survey.apply

    def changed_first(seen: Survey, changes: Sequence[Change], **options: str) -> Outcome:
        project.script.write_text("# saved by an editor\n", encoding="utf-8")
        return apply(seen, changes, **options)

    monkeypatch.setattr(Survey, "apply", changed_first)
    answer = command("fix")
    assert answer.status == 2
    assert "nothing was edited" in answer.err
    assert text_of(project) == "# saved by an editor\n"


def test_no_runs_is_no_failure(command: Command) -> None:
    answer = command("fix")
    assert (answer.status, answer.out) == (0, "")
    assert "No runs found" in answer.err
