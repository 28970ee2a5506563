"""Texts and workspaces that are hard to read: the diagnostic stands right, or there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lsp.editor import Editor, capabilities
from lsprotocol import types
from run_factory import RunFactory, statement_of

TABLE = "nn.Embedding(1000, 64)"
STATEMENT = statement_of("item_emb")


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def tabs(text: str) -> str:
    return text.replace("    ", "\t")


def bom(text: str) -> str:
    return f"\ufeff{text}"


def surrogates(text: str) -> str:
    return text.replace(STATEMENT, f'self.n = "𝒙𝒚é"; {STATEMENT}')


def all_at_once(text: str) -> str:
    return bom(crlf(tabs(surrogates(text))))


@pytest.mark.parametrize("encoding", list(types.PositionEncodingKind))
@pytest.mark.parametrize("written", [crlf, tabs, bom, surrogates, all_at_once])
async def test_range_is_that_of_the_call_through_edits_and_fixes(
    editor: Editor, project: RunFactory, written, encoding: types.PositionEncodingKind
) -> None:
    text = written(project.script.read_bytes().decode())
    project.script.write_bytes(text.encode())
    project.finished()
    await editor.start(project.root, capabilities(encodings=[encoding]))
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.at(project.script, found.range) == TABLE
    editor.replace(project.script, "import torch", "import os, torch  # 𝒙")
    editor.replace(project.script, "class MF", "é = '𝒙'\nclass MF")
    line = found.range.start.line + 1
    await editor.until(
        lambda: [each.range.start.line for each in editor.shown(project.script)] == [line]
    )
    [found] = editor.shown(project.script)
    assert editor.at(project.script, found.range) == TABLE
    uri = project.script.as_uri()
    before = editor.texts[uri]
    action = (await editor.actions(project.script, [found]))[0]
    editor.apply((await editor.resolve(action)).edit)
    assert editor.texts[uri] == before.replace("=optimizer)", "=optimizer, auto_fix=True)")


async def test_text_that_a_formatter_laid_out_anew_keeps_its_diagnostic(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "30", "-"]
    uri = project.script.as_uri()
    text = editor.texts[uri]
    made = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    assert TABLE not in made
    editor.replace(project.script, text, made)
    await editor.until(lambda: editor.published[-1].version == editor.versions[uri])
    [found] = editor.shown(project.script)
    assert "".join(editor.at(project.script, found.range).split()) == "nn.Embedding(1000,64)"


async def test_broken_syntax_above_and_below_never_names_another_line(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    text = project.script.read_text()
    for typed in ("def f(", "x = [1,", 'y = "', "class A(B", "if (", "'''"):
        for place in ("import torch", "model = MF()"):
            editor.replace(project.script, place, f"{typed}\n{place}")
            for shown in await pulled(editor, project.script):
                assert editor.at(project.script, shown.range) in (TABLE, STATEMENT)
            editor.replace(project.script, f"{typed}\n{place}", place)
    assert editor.texts[project.script.as_uri()] == text
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.at(project.script, found.range) == TABLE


async def pulled(editor: Editor, path: Path) -> list[types.Diagnostic]:
    """What is shown once the server has taken in every edit: a hover is answered after them."""
    await editor.hover(path, STATEMENT)
    return editor.shown(path)


async def test_a_file_of_fifty_thousand_lines_is_served(
    editor: Editor, project: RunFactory
) -> None:
    more = "".join(f"def f_{n}(x):\n    return x + {n}\n\n\n" for n in range(12_500))
    project.script.write_text(project.script.read_text() + more)
    project.finished()
    await editor.start(project.root)
    editor.open(project.script)
    [found] = await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.at(project.script, found.range) == TABLE
    assert "1,000 × 64" in await editor.hover_text(project.script, "self.item_emb")


async def test_a_workspace_opened_by_a_link_is_told_under_the_names_it_was_opened_by(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    link = project.root.parent / "link"
    link.symlink_to(project.root, target_is_directory=True)
    await editor.start(link)
    script = link / project.script.name
    editor.open(script)
    [found] = await editor.codes(script, "ZOMBIE_EMBEDDINGS")
    assert editor.at(script, found.range) == TABLE
    assert "1,000 × 64" in await editor.hover_text(script, "self.item_emb")
    editor.close(script)


async def test_of_two_folders_with_the_same_file_each_shows_its_own_run(
    editor: Editor, project: RunFactory
) -> None:
    other = RunFactory(project.root.parent / "other")
    assert other.script.read_text() == project.script.read_text()
    project.finished()
    await editor.start(project.root)
    added = types.WorkspaceFolder(uri=other.root.as_uri(), name="other")
    editor.client.workspace_did_change_workspace_folders(
        types.DidChangeWorkspaceFoldersParams(types.WorkspaceFoldersChangeEvent([added], []))
    )
    editor.open(project.script)
    editor.open(other.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.shown(other.script) == []
    other.finished("POPULARITY_BIAS")
    await editor.codes(other.script, "POPULARITY_BIAS")
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
async def test_a_file_that_was_renamed_keeps_its_diagnostic_under_its_new_name(
    editor: Editor, project: RunFactory, folder: bool
) -> None:
    inner = RunFactory(project.root / "models") if folder else project
    inner.finished()
    await editor.start(project.root)
    await editor.codes(inner.script, "ZOMBIE_EMBEDDINGS")
    old = inner.root if folder else inner.script
    new = old.with_name("training" if folder else "training.py")
    script = new / inner.script.name if folder else new
    if folder:
        # The runs stay where they are looked for.
        (inner.root / ".gradtracer").rename(project.root / ".gradtracer")
    old.rename(new)
    editor.client.workspace_did_rename_files(
        types.RenameFilesParams([types.FileRename(old.as_uri(), new.as_uri())])
    )
    [found] = await editor.codes(script, "ZOMBIE_EMBEDDINGS")
    await editor.codes(inner.script)
    editor.open(script)
    assert editor.at(script, found.range) == TABLE


@pytest.mark.parametrize("when", ["before the start", "told", "found by the poll"])
async def test_a_file_that_git_moved_keeps_its_diagnostic(
    editor: Editor, project: RunFactory, when: str
) -> None:
    old, new = project.script, project.root / "nets" / "model.py"
    new.parent.mkdir()
    project.finished()
    if when == "before the start":
        old.rename(new)
        await editor.start(project.root)
    else:
        await editor.start(project.root)
        await editor.codes(old, "ZOMBIE_EMBEDDINGS")
        old.rename(new)
    if when == "told":
        kinds = types.FileChangeType
        events = [(old, kinds.Deleted), (new, kinds.Created)]
        changes = [types.FileEvent(uri=path.as_uri(), type=kind) for path, kind in events]
        editor.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(changes))
    [found] = await editor.codes(new, "ZOMBIE_EMBEDDINGS")
    await editor.codes(old)
    editor.open(new)
    assert editor.at(new, found.range) == TABLE


async def test_a_file_that_was_deleted_takes_its_diagnostic_with_it(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    await editor.start(project.root)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    content = project.script.read_bytes()
    project.script.unlink()
    await editor.codes(project.script)
    project.script.write_bytes(content)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_the_client_is_asked_to_tell_of_renamed_files(
    editor: Editor, project: RunFactory
) -> None:
    client = capabilities()
    assert client.workspace is not None
    client.workspace.file_operations = types.FileOperationClientCapabilities(did_rename=True)
    await editor.start(project.root, client)
    assert editor.answer is not None
    workspace = editor.answer.capabilities.workspace
    assert workspace is not None and workspace.file_operations is not None
    renames = workspace.file_operations.did_rename
    assert renames is not None
    assert [each.pattern.glob for each in renames.filters] == ["**/*.py", "**"]
