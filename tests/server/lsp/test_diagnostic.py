"""Clients that ask about documents are answered, told to ask again, and sent nothing."""

from __future__ import annotations

import pytest
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import RunFactory, RunWriter

FULL = types.RelatedFullDocumentDiagnosticReport


async def pull(editor: Editor, project: RunFactory, known: str | None = None) -> object:
    return await editor.client.text_document_diagnostic_async(
        types.DocumentDiagnosticParams(
            types.TextDocumentIdentifier(project.script.as_uri()), previous_result_id=known
        )
    )


async def pull_all(editor: Editor, **known: str) -> list[object]:
    previous = [types.PreviousResultId(uri, value) for uri, value in known.items()]
    answer = await editor.client.workspace_diagnostic_async(
        types.WorkspaceDiagnosticParams(previous_result_ids=previous)
    )
    return list(answer.items)


async def opened(editor: Editor, project: RunFactory) -> FULL:
    """The report of the open script, once there is something in it."""
    editor.open(project.script)
    await editor.until(lambda: editor.asked_again)
    report = await pull(editor, project)
    assert isinstance(report, FULL)
    return report


async def test_a_document_is_answered_and_nothing_is_sent(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root, capabilities(pulls=True))
    report = await opened(editor, project)
    assert [each.code for each in report.items] == ["ZOMBIE_EMBEDDINGS"]
    assert editor.shown(project.script) == []


async def test_the_same_answer_is_unchanged_and_another_text_or_run_is_not(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    raised = live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.start(project.root, capabilities(pulls=True))
    first = await opened(editor, project)
    same = await pull(editor, project, first.result_id)
    assert isinstance(same, types.RelatedUnchangedDocumentDiagnosticReport)
    assert same.result_id == first.result_id

    editor.replace(project.script, "import torch\n", "import torch\n\n")
    moved = await pull(editor, project, first.result_id)
    assert isinstance(moved, FULL)
    assert moved.items[0].range.start.line == first.items[0].range.start.line + 1

    asked = editor.asked_again
    live_run.clear(raised)
    await editor.until(lambda: editor.asked_again > asked)
    cleared = await pull(editor, project, moved.result_id)
    assert isinstance(cleared, FULL)
    assert list(cleared.items) == []


async def test_an_edit_that_only_moves_lines_does_not_make_the_client_ask_again(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root, capabilities(pulls=True))
    await opened(editor, project)
    asked = editor.asked_again
    for _ in range(5):
        editor.replace(project.script, "import torch\n", "import torch\n\n")
        await pull(editor, project)
    assert editor.asked_again == asked


async def test_files_that_are_not_open_are_sent_until_the_client_asks_about_the_workspace(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root, capabilities(pulls=True))
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    [report] = await pull_all(editor)
    assert isinstance(report, types.WorkspaceFullDocumentDiagnosticReport)
    assert report.uri == project.script.as_uri()
    assert report.version is None
    assert [each.code for each in report.items] == ["ZOMBIE_EMBEDDINGS"]
    await editor.codes(project.script)

    [again] = await pull_all(editor, **{report.uri: report.result_id or ""})
    assert isinstance(again, types.WorkspaceUnchangedDocumentDiagnosticReport)
    text = project.script.read_text(encoding="utf-8")
    project.script.write_text(text.replace("64", "32"), encoding="utf-8")
    asked = editor.asked_again
    await editor.until(lambda: editor.asked_again > asked)
    [gone] = await pull_all(editor, **{report.uri: report.result_id or ""})
    assert isinstance(gone, types.WorkspaceFullDocumentDiagnosticReport)
    assert list(gone.items) == []


async def test_opening_a_file_takes_back_what_was_sent_of_it(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root, capabilities(pulls=True))
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    editor.open(project.script)
    await editor.codes(project.script)
    report = await pull(editor, project)
    assert isinstance(report, FULL)
    assert len(report.items) == 1


@pytest.mark.parametrize("missing", ["refresh_diagnostics", "pull_diagnostics"])
async def test_a_client_that_cannot_be_told_to_ask_again_is_sent_everything(
    editor: Editor, project: RunFactory, missing: str
) -> None:
    project.finished()
    await editor.start(project.root, capabilities(missing, pulls=True))
    assert editor.answer is not None
    assert editor.answer.capabilities.diagnostic_provider is None
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.asked_again == 0


async def test_a_file_of_nobody_is_answered_with_nothing(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root, capabilities(pulls=True))
    other = types.TextDocumentIdentifier("untitled:Untitled-1")
    answer = await editor.client.text_document_diagnostic_async(
        types.DocumentDiagnosticParams(other)
    )
    assert isinstance(answer, FULL)
    assert list(answer.items) == []
