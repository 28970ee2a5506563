"""The main job: a real training explains itself on the line that defines the layer."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest_asyncio
from lsp.editor import Editor
from lsprotocol import types

Train = Callable[..., "subprocess.Popen[bytes]"]
COLLAPSE = "REPRESENTATION_COLLAPSE"
ITEMS = "self.item_emb = nn.Embedding("


@pytest_asyncio.fixture
async def editor() -> AsyncIterator[Editor]:
    editor = Editor()
    yield editor
    assert await editor.quit() == 0
    assert editor.client.messages == [], "no popup may ever be shown"


def collapsed(editor: Editor, path: Path) -> list[types.Diagnostic]:
    return [each for each in editor.shown(path) if each.code == COLLAPSE]


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, 100)


async def test_a_live_training_is_diagnosed_followed_through_edits_and_fixed(
    editor: Editor, example: Path, train: Train
) -> None:
    await editor.start(example.parent)
    editor.open(example)
    training = train("--slow", "0.002")

    # While it trains, each table's own line carries its diagnosis.
    await editor.until(lambda: len(collapsed(editor, example)) == 2)
    assert training.poll() is None
    users, items = sorted(collapsed(editor, example), key=lambda found: found.range.start.line)
    assert editor.at(example, users.range) == "nn.Embedding(num_users, dim, padding_idx=0)"
    assert editor.at(example, items.range) == "nn.Embedding(num_items, dim, padding_idx=0)"

    # Its line is where the statement is, not where it was.
    editor.replace(example, "import argparse\n", "import argparse\n\n# a new line\n\n")
    lines = {users.range.start.line + 3, items.range.start.line + 3}
    await editor.until(lambda: {d.range.start.line for d in collapsed(editor, example)} == lines)
    assert {editor.at(example, d.range) for d in collapsed(editor, example)} == {
        "nn.Embedding(num_users, dim, padding_idx=0)",
        "nn.Embedding(num_items, dim, padding_idx=0)",
    }

    hover = await editor.hover_text(example, ITEMS)
    assert "1,682" in hover
    assert "ffective rank" in hover
    assert "Live: step" in hover

    # One action, where the cause is.
    (found,) = [d for d in collapsed(editor, example) if "item_emb" in d.message]
    actions = await editor.actions(example, [found])
    assert [action.is_preferred for action in actions][:1] == [True]
    fixed = await editor.resolve(actions[0])
    before = editor.texts[example.as_uri()]
    editor.apply(fixed.edit)
    await editor.until(lambda: not collapsed(editor, example))
    editor.save(example)
    old, new = '"--weight-decay", type=float, default=1e-4', "default=1e-5"
    assert example.read_text() == before.replace(old, old.replace("default=1e-4", new))
    training.terminate()
    assert await ended(training) != 0

    # Trained again as fixed, the finding does not come back.
    again = train("--epochs", "8")
    assert await ended(again) == 0
    hover = ""
    while "finished" not in hover:
        hover = await editor.hover_text(example, ITEMS)
    assert not collapsed(editor, example)


async def test_a_training_that_was_killed_is_said_to_have_ended_without_a_goodbye(
    editor: Editor, example: Path, train: Train
) -> None:
    await editor.start(example.parent)
    editor.open(example)
    training = train("--slow", "0.002")
    hover = ""
    while "Live: step" not in hover:
        hover = await editor.hover_text(example, ITEMS)
        assert training.poll() is None
    training.kill()
    while "without a goodbye" not in hover:
        hover = await editor.hover_text(example, ITEMS)
