"""Every client works: with one ability missing, and with the abilities real editors declare.

`clients/` holds what pytest-lsp does not: Helix's, from `helix-lsp/src/client.rs` at the commit
that the file names, and what VS Code's language client 11.0.0 computes, which our extension has.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from lsp.editor import ABILITIES, Editor, capabilities
from lsprotocol import types
from pygls.protocol import default_converter
from pytest_lsp import client_capabilities
from run_factory import RunFactory, RunWriter, statement_of

from patience import PATIENCE

RECORDED = sorted((Path(__file__).parent / "clients").glob("*.json"))
CLIENTS = ("neovim@v0.11", "neovim@v0.6", "visual-studio-code", "emacs")


async def use(editor: Editor, project: RunFactory, run: RunWriter) -> None:
    """All that a person does: see, hover, choose a fix, see it gone."""
    run.progress(step=1)
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    editor.open(project.script)
    [found] = await findings(editor, project, "ZOMBIE_EMBEDDINGS")
    text = await editor.hover_text(project.script, "self.item_emb")
    assert "move much and get nowhere" in text
    assert "Confidence 98 %" in text
    actions = await editor.actions(project.script, [found])
    for action in actions:
        if action.title.startswith("Reduce") and action.edit is None:
            action.edit = (await editor.resolve(action)).edit
        if action.title.startswith("Reduce"):
            editor.apply(action.edit)
    if actions:
        assert "nn.Embedding(1000, 24)" in editor.texts[project.script.as_uri()]
    else:
        editor.replace(project.script, statement_of("item_emb"), "pass")
    await findings(editor, project)


async def findings(editor: Editor, project: RunFactory, *codes: str) -> list[types.Diagnostic]:
    """The diagnostics of the script, once they are these: asked for by a client that asks."""
    assert editor.answer is not None
    if editor.answer.capabilities.diagnostic_provider is None:
        return await editor.codes(project.script, *codes)
    asked = types.DocumentDiagnosticParams(types.TextDocumentIdentifier(project.script.as_uri()))
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        report = await editor.client.text_document_diagnostic_async(asked)
        assert isinstance(report, types.RelatedFullDocumentDiagnosticReport)
        if sorted(str(each.code) for each in report.items) == sorted(codes):
            return list(report.items)
        await asyncio.sleep(0.02)
    raise AssertionError(f"{codes} were not found within {PATIENCE} s")


@pytest.mark.parametrize("missing", ABILITIES)
async def test_a_client_without_one_ability_is_served(
    editor: Editor, project: RunFactory, live_run: RunWriter, missing: str
) -> None:
    await editor.start(project.root, capabilities(missing))
    await use(editor, project, live_run)


async def test_a_client_without_any_ability_is_served(
    editor: Editor, project: RunFactory, live_run: RunWriter
) -> None:
    await editor.start(project.root, types.ClientCapabilities())
    await use(editor, project, live_run)


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_real_editor_is_served(
    editor: Editor, project: RunFactory, live_run: RunWriter, name: str
) -> None:
    await editor.start(project.root, client_capabilities(name))
    await use(editor, project, live_run)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
async def test_an_editor_of_today_is_served(
    editor: Editor, project: RunFactory, live_run: RunWriter, recorded: Path
) -> None:
    told = json.loads(recorded.read_text(encoding="utf-8"))
    client = default_converter().structure(told["capabilities"], types.ClientCapabilities)
    await editor.start(project.root, client)
    assert editor.answer is not None
    encoding = editor.answer.capabilities.position_encoding
    assert encoding == told["capabilities"]["general"]["positionEncodings"][0]
    await use(editor, project, live_run)
