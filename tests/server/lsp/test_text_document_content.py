"""The report of a layer is a document whose text the server has."""

from __future__ import annotations

import pytest
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import RunFactory, RunWriter, statement_of


async def text_of(editor: Editor, uri: str) -> str:
    answer = await editor.client.workspace_text_document_content_async(
        types.TextDocumentContentParams(uri)
    )
    return answer.text


async def test_the_scheme_is_announced_to_clients_that_open_it(
    editor: Editor, project: RunFactory
) -> None:
    await editor.start(project.root)
    assert editor.answer is not None
    workspace = editor.answer.capabilities.workspace
    assert workspace is not None
    assert isinstance(workspace.text_document_content, types.TextDocumentContentOptions)
    assert list(workspace.text_document_content.schemes) == ["gradtracer"]


async def test_it_is_not_announced_to_others(editor: Editor, project: RunFactory) -> None:
    await editor.start(project.root, capabilities("text_document_content"))
    assert editor.answer is not None
    workspace = editor.answer.capabilities.workspace
    assert workspace is not None
    assert workspace.text_document_content is None


async def test_a_report_has_the_card_the_way_of_each_figure_the_tests_and_the_place(
    editor: Editor, project: RunFactory
) -> None:
    before = project.start()
    before.watch_layers()
    before.observe("item_emb", step=300, effective_rank=60)
    before.end()
    run = project.start()
    run.watch_layers()
    for step, rank in ((100, 60), (200, 30), (300, 2)):
        run.observe("item_emb", step=step, effective_rank=rank)
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", step=300)
    run.end()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.hover_until(project.script, "self.item_emb", "Since the run")
    text = await text_of(editor, f"gradtracer:/report/{run.id}/item_emb.md")
    assert text.startswith("# `item_emb`\n")
    assert "Embedding 1,000 × 64, float32 on cpu" in text
    assert "| Effective rank | 60 | 2 | 60 (-58) | `█▄▁` |" in text
    assert "- `ZOMBIE_EMBEDDINGS` `zombie_share` 0.041" in text
    assert f"`{statement_of('item_emb')}`" in text


@pytest.mark.parametrize(
    "uri", ["gradtracer:/report/x/item_emb.md", "gradtracer:/else", "file:///etc/passwd", "::"]
)
async def test_any_other_document_is_empty(editor: Editor, project: RunFactory, uri: str) -> None:
    project.finished()
    await editor.start(project.root)
    assert await text_of(editor, uri) == ""


async def test_a_client_is_told_when_an_open_report_changes(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.observe("item_emb")
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    uri = f"gradtracer:/report/{live_run.id}/item_emb.md"
    text = await text_of(editor, uri)
    live_run.observe("item_emb", step=200, effective_rank=3)
    while "3 of 64" not in text:
        asked = editor.refreshes[types.WORKSPACE_TEXT_DOCUMENT_CONTENT_REFRESH]
        text = await text_of(editor, uri)
        if "3 of 64" not in text:
            await editor.refreshed(types.WORKSPACE_TEXT_DOCUMENT_CONTENT_REFRESH, asked)
