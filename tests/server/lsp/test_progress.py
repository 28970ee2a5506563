"""A training that runs now is one work-done progress report."""

from __future__ import annotations

import time

import pytest
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import RunFactory, RunWriter


def reports(editor: Editor) -> list[object]:
    return [each for told in editor.client.progress_reports.values() for each in told]


async def test_a_live_training_reports_begins_and_ends(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.progress(step=1234, total_steps=5000)
    await editor.start(project.root)
    await editor.until(lambda: reports(editor))
    begun = reports(editor)[0]
    assert isinstance(begun, types.WorkDoneProgressBegin)
    assert begun.title == "Training train.py"
    assert begun.message == "step 1,234/5,000 · loss 0.420 · 50 steps/s · 1 min left"
    assert begun.percentage == 24
    assert not begun.cancellable

    live_run.progress(step=2500, total_steps=5000)
    await editor.until(lambda: len(reports(editor)) > 1)
    told = reports(editor)[1]
    assert isinstance(told, types.WorkDoneProgressReport)
    assert told.percentage == 50

    live_run.end("failed", step=2600)
    await editor.until(lambda: isinstance(reports(editor)[-1], types.WorkDoneProgressEnd))
    assert reports(editor)[-1].message == "failed at step 2,600 of 5,000"
    assert len(editor.client.progress_reports) == 1


async def test_without_a_known_total_there_is_no_percentage(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.progress(step=7, total_steps=None)
    await editor.start(project.root)
    await editor.until(lambda: reports(editor))
    begun = reports(editor)[0]
    assert begun.percentage is None
    assert begun.message == "step 7 · loss 0.420 · 50 steps/s"


async def test_a_long_training_without_a_known_total_says_how_long_it_has_been(
    editor: Editor, project: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time() - 2 * 3600 - 5 * 60
    monkeypatch.setattr("run_factory.time.time", lambda: began)
    run = project.start()
    monkeypatch.undo()
    run.watch_layers()
    run.progress(step=7, total_steps=None)
    await editor.start(project.root)
    await editor.until(lambda: reports(editor))
    assert reports(editor)[0].message == "step 7 · loss 0.420 · 50 steps/s · 2 h 5 min so far"


async def test_a_run_that_is_over_has_no_report(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.client.progress_reports == {}


async def test_a_client_without_progress_is_sent_none(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.progress(step=1)
    await editor.start(project.root, capabilities("work_done_progress"))
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.client.progress_reports == {}


async def test_a_training_that_vanishes_ends_its_report(
    editor: Editor, project: RunFactory
) -> None:
    import asyncio
    import sys

    from gradtracer_server.liveness import started_stamp

    program = "import sys; print(flush=True); sys.stdin.read()"
    training = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert training.stdout is not None
    await training.stdout.readline()
    run = project.start(pid=training.pid, process_started=started_stamp(training.pid))
    run.watch_layers()
    run.progress(step=5)
    await editor.start(project.root)
    await editor.until(lambda: reports(editor))
    training.kill()
    await training.wait()
    await editor.until(lambda: isinstance(reports(editor)[-1], types.WorkDoneProgressEnd))
    assert "ended without a goodbye" in (reports(editor)[-1].message or "")
