"""Commands do what a lens, a key or a menu entry asks for, and say what they did not do."""

from __future__ import annotations

import pytest
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import WATCH_STATEMENT, RunFactory
from trained_model import leave_trained_model

ZOMBIES = "ZOMBIE_EMBEDDINGS"


async def ready(editor: Editor, project: RunFactory, *without: str) -> types.Diagnostic:
    project.finished()
    await editor.start(project.root, capabilities(*without))
    editor.open(project.script)
    [found] = await editor.codes(project.script, ZOMBIES)
    return found


async def test_the_commands_are_announced(editor: Editor, project: RunFactory) -> None:
    await ready(editor, project)
    assert editor.answer is not None
    provider = editor.answer.capabilities.execute_command_provider
    assert provider is not None
    assert set(provider.commands) == {
        "gradtracer.showRuns",
        "gradtracer.openReport",
        "gradtracer.applyFix",
        "gradtracer.stopFollowing",
        "gradtracer.follow",
        "gradtracer.status",
        "gradtracer.setAutoFix",
        "gradtracer.setTrackInterval",
        "gradtracer.compressCheckpoint",
    }


async def test_a_fix_is_made_by_id(editor: Editor, project: RunFactory) -> None:
    found = await ready(editor, project)
    identity = found.data["id"]
    answer = await editor.command("gradtracer.applyFix", identity, "enable-auto-fix")
    assert answer == {"applied": True, "reason": ""}
    after = WATCH_STATEMENT[:-1] + ", auto_fix=True)"
    assert after in editor.texts[project.script.as_uri()]
    [made] = editor.applied
    assert made.label
    again = await editor.command("gradtracer.applyFix", identity, "enable-auto-fix")
    assert not again["applied"]
    assert "no finding" in again["reason"]


async def test_a_fix_that_is_named_is_not_asked_about_again(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project)
    answer = await editor.command("gradtracer.applyFix", found.data["id"], "reduce-embedding-dim")
    assert answer == {"applied": True, "reason": ""}
    [made] = editor.applied
    assert made.edit.change_annotations is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "no finding '' holds"),
        (("ZOMBIE_EMBEDDINGS:no@run", "x"), "no finding"),
        (("{id}", "brew-coffee"), "has no fix 'brew-coffee'"),
    ],
)
async def test_a_fix_that_cannot_be_made_is_named_with_its_reason(
    editor: Editor, project: RunFactory, arguments: tuple[str, ...], reason: str
) -> None:
    found = await ready(editor, project)
    named = [each.replace("{id}", found.data["id"]) for each in arguments]
    answer = await editor.command("gradtracer.applyFix", *named)
    assert not answer["applied"]
    assert reason in answer["reason"]


async def test_a_client_that_makes_no_edits_is_sent_none(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project, "applies_edits")
    answer = await editor.command("gradtracer.applyFix", found.data["id"], "enable-auto-fix")
    assert not answer["applied"]
    assert "makes no edits" in answer["reason"]
    assert editor.applied == []


async def test_a_report_is_shown_where_it_can_be_and_answered_as_text(
    editor: Editor, project: RunFactory
) -> None:
    await ready(editor, project)
    text = await editor.command("gradtracer.openReport", "item_emb")
    assert text.startswith("# `item_emb`")
    [shown] = editor.client.shown_documents
    assert shown.uri == "gradtracer:/report//item_emb.md"
    document = await editor.client.workspace_text_document_content_async(
        types.TextDocumentContentParams(shown.uri)
    )
    assert document.text == text
    assert await editor.command("gradtracer.openReport", "no_such_layer") == ""


@pytest.mark.parametrize("missing", ["show_document", "text_document_content"])
async def test_a_client_that_shows_no_documents_of_ours_gets_the_text_alone(
    editor: Editor, project: RunFactory, missing: str
) -> None:
    await ready(editor, project, missing)
    text = await editor.command("gradtracer.showRuns")
    assert text.endswith("finished at step 300 of 1,000; ZOMBIE_EMBEDDINGS\n")
    assert editor.client.shown_documents == []


async def test_a_run_that_is_not_followed_is_not_shown_until_it_is(
    editor: Editor, project: RunFactory
) -> None:
    found = await ready(editor, project)
    run = found.data["id"].partition("@")[2]
    assert await editor.command("gradtracer.stopFollowing", run)
    await editor.codes(project.script)
    assert (await editor.command("gradtracer.status"))["state"] == "none"
    assert await editor.command("gradtracer.follow", run)
    await editor.codes(project.script, ZOMBIES)
    assert not await editor.command("gradtracer.stopFollowing", "no-such-run")
    assert not await editor.command("gradtracer.stopFollowing")


async def test_a_checkpoint_is_compressed_while_the_editor_goes_on(
    editor: Editor, project: RunFactory
) -> None:
    leave_trained_model(project.root)
    await ready(editor, project)
    request = {"checkpoint": "model.pt", "recipe": "r.json", "model": "mf:build"}
    answer = await editor.command("gradtracer.compressCheckpoint", request)
    assert answer["done"], answer["reason"]
    assert answer["bytes_after"] == (project.root / "model.compressed.pt").stat().st_size
    assert "0.32 MB -> " in answer["reason"]
    shown = [each for each in editor.client.progress_reports.values() if each]
    assert any("compressing" in str(report) for reports in shown for report in reports)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, "missing required field"),
        ({"checkpoint": "no.pt", "recipe": "r.json", "model": "mf:build"}, "no.pt"),
    ],
)
async def test_a_checkpoint_that_cannot_be_compressed_is_named_with_the_reason(
    editor: Editor, project: RunFactory, request_: dict[str, str], reason: str
) -> None:
    leave_trained_model(project.root)
    await ready(editor, project)
    answer = await editor.command("gradtracer.compressCheckpoint", request_)
    assert not answer["done"]
    assert reason in answer["reason"]
