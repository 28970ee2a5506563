"""Clients that show it are told how runs and findings stand."""

from __future__ import annotations

from lsp.editor import Editor, capabilities
from run_factory import RunFactory, RunWriter, statement_of


async def state(editor: Editor, wanted: str) -> dict[str, object]:
    await editor.until(lambda: editor.statuses and editor.statuses[-1]["state"] == wanted)
    return editor.statuses[-1]


async def test_a_run_is_live_then_ended_then_outdated(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root)
    editor.open(project.script)
    assert (await state(editor, "live"))["text"] == "Training, 0 findings"
    live_run.observe("item_emb")
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.until(lambda: editor.statuses[-1]["findings"] == 1)
    live_run.end()
    ended = await state(editor, "ended")
    assert ended == {
        "state": "ended",
        "text": "Last run finished at step 300, 1 finding",
        "run": live_run.id,
        "live": 0,
        "findings": 1,
    }
    editor.replace(project.script, statement_of("item_emb"), "self.item_emb = nn.Embedding(9, 9)")
    assert (await state(editor, "outdated"))["findings"] == 0
    told = len(editor.statuses)
    assert await editor.command("gradtracer.status") == editor.statuses[-1]
    assert len(editor.statuses) == told


async def test_without_a_run_there_is_none(editor: Editor, project: RunFactory) -> None:
    await editor.start(project.root)
    assert await state(editor, "none") == {
        "state": "none",
        "text": "No run",
        "run": None,
        "live": 0,
        "findings": 0,
    }


async def test_others_are_not_told(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root, capabilities("status"))
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.statuses == []
