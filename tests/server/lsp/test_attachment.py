"""Agents and commands beside an open editor: its unsaved texts count, and it makes their edits."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsp.editor import Editor, capabilities
from run_factory import WATCH_STATEMENT, RunFactory

from gradtracer_server.attachment.client import editors
from gradtracer_server.headless.answers import Answer
from gradtracer_server.headless.desk import Desk
from gradtracer_server.headless.fix import fix
from patience import PATIENCE

ZOMBIES = "ZOMBIE_EMBEDDINGS"
AFTER = WATCH_STATEMENT[:-1] + ", auto_fix=True)"
NOTE = "# unsaved\n"
FIRST_LINE = "import"


async def opened(editor: Editor, project: RunFactory, *without: str) -> str:
    """An editor with an unsaved change in the script; the id of the finding in it."""
    run = project.finished()
    await editor.start(project.root, capabilities(*without))
    editor.open(project.script)
    await editor.codes(project.script, ZOMBIES)
    await editor.until(lambda: editors([project.root]))
    await typed(editor, project, NOTE)
    return f"{ZOMBIES}:item_emb@{run.id}"


async def typed(editor: Editor, project: RunFactory, words: str) -> None:
    """Type before the first import, and wait until the server knows."""
    editor.replace(project.script, FIRST_LINE, words + FIRST_LINE)
    (live,) = editors([project.root])
    text = editor.texts[project.script.as_uri()]
    while text not in (await asyncio.to_thread(live.unsaved)).values():
        assert editor.process.returncode is None, "the server has ended"


def meeting(project: RunFactory) -> Path:
    """The file by which commands find the editor."""
    (path,) = (project.root / ".gradtracer" / "editors").glob("*.json")
    return path


async def asked(question: Callable[..., Answer], *arguments: Any) -> Answer:
    """An answer of the desk, while the editor goes on."""
    return await asyncio.to_thread(question, *arguments)


async def test_an_agent_sees_and_edits_the_unsaved_text(
    editor: Editor, project: RunFactory
) -> None:
    identity = await opened(editor, project)
    on_disk = project.script.read_bytes()
    desk = Desk([project.root])
    (finding,) = (await asked(desk.get_diagnoses))["findings"]
    assert finding["where"].endswith("train.py:11:25"), "one line further down than on disk"
    proposed = await asked(desk.propose_fix, identity, "enable-auto-fix")
    answer = await asked(desk.apply_fix, identity, "enable-auto-fix", proposed["expect_sha256"])
    assert answer["state"] == "applied"
    assert "to be saved" in answer["where"]
    text = editor.texts[project.script.as_uri()]
    assert text.startswith(NOTE)
    assert AFTER in text
    [made] = editor.applied
    assert made.label == proposed["title"]
    assert project.script.read_bytes() == on_disk


async def test_what_was_typed_since_the_proposal_is_never_overwritten(
    editor: Editor, project: RunFactory
) -> None:
    identity = await opened(editor, project)
    desk = Desk([project.root])
    proposed = await asked(desk.propose_fix, identity, "enable-auto-fix")
    await typed(editor, project, "# more\n")
    before = editor.texts[project.script.as_uri()]
    answer = await asked(desk.apply_fix, identity, "enable-auto-fix", proposed["expect_sha256"])
    assert answer["state"] == "stale"
    assert editor.texts[project.script.as_uri()] == before
    assert editor.applied == []


async def test_a_saved_file_is_edited_on_disk(editor: Editor, project: RunFactory) -> None:
    identity = await opened(editor, project)
    editor.save(project.script)
    assert await asyncio.to_thread(editors([project.root])[0].unsaved) == {}
    desk = Desk([project.root])
    proposed = await asked(desk.propose_fix, identity, "enable-auto-fix")
    answer = await asked(desk.apply_fix, identity, "enable-auto-fix", proposed["expect_sha256"])
    assert answer["state"] == "applied"
    assert "where" not in answer
    assert AFTER in project.script.read_text(encoding="utf-8")
    assert editor.applied == []


async def test_the_fix_command_edits_through_the_editor(
    editor: Editor, project: RunFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    await opened(editor, project)
    on_disk = project.script.read_bytes()
    status = await asyncio.to_thread(fix, [project.root], only="enable-auto-fix", unsafe=True)
    assert status == 0
    assert AFTER in editor.texts[project.script.as_uri()]
    assert project.script.read_bytes() == on_disk
    assert "to be saved there" in capsys.readouterr().err


async def test_a_client_that_makes_no_edits_keeps_its_text(
    editor: Editor, project: RunFactory
) -> None:
    identity = await opened(editor, project, "applies_edits")
    on_disk = project.script.read_bytes()
    desk = Desk([project.root])
    proposed = await asked(desk.propose_fix, identity, "enable-auto-fix")
    answer = await asked(desk.apply_fix, identity, "enable-auto-fix", proposed["expect_sha256"])
    assert answer["state"] == "conflict"
    assert "makes no edits" in answer["reason"]
    assert project.script.read_bytes() == on_disk


async def test_the_file_is_private_and_goes_with_the_server(
    editor: Editor, project: RunFactory
) -> None:
    await opened(editor, project)
    path = meeting(project)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await editor.quit()
    assert not path.exists()
    assert editors([project.root]) == []


async def test_a_server_that_was_killed_is_passed_over(editor: Editor, project: RunFactory) -> None:
    identity = await opened(editor, project)
    path = meeting(project)
    editor.process.kill()
    await editor.process.wait()
    editor.client._server = None
    assert path.exists()
    assert editors([project.root]) == []
    proposed = await asked(Desk([project.root]).propose_fix, identity, "enable-auto-fix")
    assert AFTER in proposed["diff"]
    other = Editor()
    await other.start(project.root)
    await other.until(lambda: editors([project.root]))
    assert not path.exists(), "the next server sweeps it away"
    assert await other.quit() == 0


async def test_a_file_that_others_may_write_is_not_believed(
    editor: Editor, project: RunFactory
) -> None:
    await opened(editor, project)
    path = meeting(project)
    path.chmod(0o644)
    assert editors([project.root]) == []
    path.chmod(0o600)
    assert len(editors([project.root])) == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"token":"guess","ask":"unsaved"}\n',
        b"GET / HTTP/1.1\r\n\r\n",
        b"[" * 100_000 + b"\n",
        b'{"token":"guess"',
    ],
    ids=["token", "browser", "deep", "torn"],
)
async def test_without_the_token_nothing_is_told(
    editor: Editor, project: RunFactory, line: bytes
) -> None:
    await opened(editor, project)
    port = json.loads(meeting(project).read_bytes())["port"]

    def knock() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)

    assert await asyncio.to_thread(knock) == b""
    assert len(editors([project.root])[0].unsaved()) == 1, "it still answers who may ask"
