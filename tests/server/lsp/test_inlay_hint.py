"""Figures and progress stand at the end of their lines, each kind only where it is wanted."""

from __future__ import annotations

import pytest
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import WATCH_STATEMENT, RunFactory, RunWriter, statement_of


async def hints(
    editor: Editor, project: RunFactory, first: int = 0, last: int = 1000
) -> dict[str, str]:
    """What stands after which statement."""
    found = await editor.client.text_document_inlay_hint_async(
        types.InlayHintParams(
            types.TextDocumentIdentifier(project.script.as_uri()),
            types.Range(types.Position(first, 0), types.Position(last, 0)),
        )
    )
    lines = editor.texts[project.script.as_uri()].splitlines()
    told: dict[str, str] = {}
    for hint in found or []:
        assert isinstance(hint.label, str)
        line = lines[hint.position.line]
        told[line[: hint.position.character].strip()] = hint.label
    return told


async def ready(editor: Editor, project: RunFactory) -> None:
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_layers_and_the_run_have_hints(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    told = await hints(editor, project)
    assert told == {
        statement_of("user_emb"): "rank 21.5/64, 91 % seen",
        statement_of("item_emb"): "rank 21.5/64, 91 % seen",
        WATCH_STATEMENT: "finished, loss 0.420",
    }
    line = editor.place_of(project.script, "self.item_emb").line
    assert list(await hints(editor, project, line, line)) == [statement_of("item_emb")]


async def test_an_edited_line_says_that_it_was_measured_before(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    editor.replace(project.script, "64)\n\n", "32)\n\n")
    told = await hints(editor, project)
    assert told["self.item_emb = nn.Embedding(1000, 32)"] == "measured before this edit"
    assert told[statement_of("user_emb")] == "rank 21.5/64, 91 % seen"


@pytest.mark.parametrize(
    ("setting", "gone"),
    [
        ("inlayHintFigures", {statement_of("user_emb")}),
        ("inlayHintProgress", {WATCH_STATEMENT}),
        ("inlayHintOutdated", {"self.item_emb = nn.Embedding(1000, 32)"}),
    ],
)
async def test_each_kind_can_be_switched_off_while_the_editor_runs(
    editor: Editor, project: RunFactory, setting: str, gone: set[str]
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    editor.replace(project.script, "64)\n\n", "32)\n\n")
    before = await hints(editor, project)
    assert len(before) == 3
    asked = editor.refreshes[types.WORKSPACE_INLAY_HINT_REFRESH]
    editor.configure({setting: False})
    await editor.until(lambda: editor.refreshes[types.WORKSPACE_INLAY_HINT_REFRESH] > asked)
    assert before.keys() - (await hints(editor, project)).keys() == gone


async def test_a_client_is_told_when_figures_change(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    live_run.observe("item_emb")
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.start(project.root)
    await ready(editor, project)
    live_run.observe("item_emb", step=200, effective_rank=3.0)
    # An earlier change may be told of first; each time it asks, the client may find the new figure.
    told = ""
    while told != "rank 3/64, 91 % seen":
        asked = editor.refreshes[types.WORKSPACE_INLAY_HINT_REFRESH]
        told = (await hints(editor, project))[statement_of("item_emb")]
        if told != "rank 3/64, 91 % seen":
            await editor.refreshed(types.WORKSPACE_INLAY_HINT_REFRESH, asked)


async def test_a_client_that_cannot_be_told_is_not(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(project.root, capabilities("refresh_hints"))
    await ready(editor, project)
    assert await hints(editor, project)
    assert editor.refreshes[types.WORKSPACE_INLAY_HINT_REFRESH] == 0


async def test_a_file_without_layers_has_none(editor: Editor, project: RunFactory) -> None:
    project.finished()
    other = project.root / "other.py"
    other.write_text("x = 1\n", encoding="utf-8")
    await editor.start(project.root)
    await ready(editor, project)
    editor.open(other)
    whole = types.Range(types.Position(0, 0), types.Position(9, 0))
    for uri in (other.as_uri(), "untitled:one"):
        params = types.InlayHintParams(types.TextDocumentIdentifier(uri), whole)
        assert await editor.client.text_document_inlay_hint_async(params) is None


async def test_a_hint_says_whose_figures_it_shows_and_of_which_run(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await ready(editor, project)
    line = editor.place_of(project.script, "self.item_emb").line
    found = await editor.client.text_document_inlay_hint_async(
        types.InlayHintParams(
            types.TextDocumentIdentifier(project.script.as_uri()),
            types.Range(types.Position(line, 0), types.Position(line, 0)),
        )
    )
    assert found is not None
    assert isinstance(found[0].tooltip, str)
    layer, run = found[0].tooltip.splitlines()
    assert layer.startswith("item_emb: Embedding 1,000 × 64")
    assert run.startswith("Run of ")
