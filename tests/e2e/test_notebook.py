"""A model that is built and trained in a real kernel is diagnosed on the notebook's own cells."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from lsp.editor import Cell, Editor
from lsprotocol import types

from patience import PATIENCE

RunCells = Callable[[list[str]], None]
SHELL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.loads(sys.argv[1]):
    shell.run_cell(cell, store_history=True).raise_error()
"""
KERNEL = f"""
import json, sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3", startup_timeout={PATIENCE})
for cell in json.loads(sys.argv[1]):
    answer = client.execute_interactive(cell, timeout={PATIENCE}, output_hook=lambda message: None)
    assert answer["content"]["status"] == "ok", answer["content"].get("traceback")
client.stop_channels()
manager.shutdown_kernel(now=True)
"""
IMPORTS = "%xmode Plain\nimport gradtracer\nimport torch\nfrom torch import nn\n"
MODEL = """class MF(nn.Module):
    def __init__(self):
        super().__init__()
        self.item_emb = nn.Embedding(2000, 8)

    def forward(self, ids):
        return self.item_emb(ids).sum(-1)
"""
TRAINING = """model = MF()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
run = gradtracer.watch(model, optimizer=optimizer)
for step in range(300):
    optimizer.zero_grad()
    (model(torch.randint(0, 100, (256,))) - 1).square().mean().backward()
    optimizer.step()
run.finish()
"""
TABLE = "nn.Embedding(2000, 8)"
DEAD = "DEAD_EMBEDDINGS"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return folder


@pytest.fixture(params=[SHELL, KERNEL], ids=["ipython", "jupyter"])
def run_cells(request: pytest.FixtureRequest, folder: Path) -> RunCells:
    """Runs cells in IPython's shell, or in a kernel: they name the code of cells differently."""

    def run(cells: list[str]) -> None:
        command = [sys.executable, "-c", request.param, json.dumps(cells)]
        subprocess.run(command, cwd=folder, check=True, timeout=PATIENCE)

    return run


@pytest_asyncio.fixture
async def editor(folder: Path) -> AsyncIterator[Editor]:
    editor = Editor()
    await editor.start(folder)
    yield editor
    assert await editor.quit() == 0
    assert editor.client.messages == [], "no popup may ever be shown"


async def test_cells_carry_the_diagnosis_hover_hint_and_fix_of_their_layers(
    editor: Editor, folder: Path, run_cells: RunCells
) -> None:
    notebook = folder / "study.ipynb"
    imports, model, training = (Cell(notebook, name) for name in ("W0s", "W1s", "W2s"))
    texts = {imports: IMPORTS, model: MODEL, training: TRAINING}
    editor.open_notebook(texts)
    await asyncio.to_thread(run_cells, list(texts.values()))

    await editor.until(lambda: DEAD in [each.code for each in editor.shown(model)])
    (found,) = [each for each in editor.shown(model) if each.code == DEAD]
    assert editor.at(model, found.range) == TABLE
    built = [each.location.uri for each in found.related_information or []]
    assert built == [training.as_uri(), training.as_uri(), training.as_uri()]
    assert "2,000" in await editor.hover_text(model, "self.item_emb")
    hints = await editor.client.text_document_inlay_hint_async(
        types.InlayHintParams(
            types.TextDocumentIdentifier(training.as_uri()),
            types.Range(types.Position(0, 0), types.Position(9, 0)),
        )
    )
    assert hints is not None
    assert [hint.position.line for hint in hints] == [2]

    shrink, *_ = await editor.actions(model, [found])
    editor.apply((await editor.resolve(shrink)).edit)
    assert "nn.Embedding(100, 8)" in editor.texts[model.as_uri()]
    await editor.until(lambda: DEAD not in [each.code for each in editor.shown(model)])
