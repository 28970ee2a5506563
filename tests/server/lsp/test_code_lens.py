"""A lens stands above a layer's line only where the user wants lenses."""

from __future__ import annotations

from lsp.editor import Editor
from lsprotocol import types
from run_factory import RunFactory


async def lenses(editor: Editor, project: RunFactory) -> list[types.CodeLens]:
    document = types.TextDocumentIdentifier(project.script.as_uri())
    return list(
        await editor.client.text_document_code_lens_async(types.CodeLensParams(document)) or []
    )


async def test_there_are_none_until_they_are_asked_for(editor: Editor, project: RunFactory) -> None:
    run = project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    assert await lenses(editor, project) == []
    asked = editor.refreshes[types.WORKSPACE_CODE_LENS_REFRESH]
    editor.configure({"codeLens": True})
    await editor.until(lambda: editor.refreshes[types.WORKSPACE_CODE_LENS_REFRESH] > asked)
    [lens] = await lenses(editor, project)
    assert lens.range.start.line == editor.place_of(project.script, "self.item_emb").line
    assert lens.command is not None
    assert lens.command.title == "item_emb: ZOMBIE_EMBEDDINGS, POPULARITY_BIAS"
    assert list(lens.command.arguments or []) == ["item_emb", run.id]
