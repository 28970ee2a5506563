"""A server starts fast, ends with its client, and needs nothing that may be missing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lsp.editor import SERVE, Editor
from lsprotocol import types
from run_factory import RunFactory, RunWriter

from patience import PATIENCE

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"processId": None, "rootUri": None, "capabilities": {}},
}
INITIALIZED = {"jsonrpc": "2.0", "method": "initialized", "params": {}}
SHUTDOWN = {"jsonrpc": "2.0", "id": 2, "method": "shutdown"}
EXIT = {"jsonrpc": "2.0", "method": "exit"}


def packed(*messages: object) -> bytes:
    bodies = [json.dumps(message).encode() for message in messages]
    return b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)


def serve(content: bytes, *, timeout: float = 20) -> subprocess.CompletedProcess[bytes]:
    """A server that is fed and then loses its input."""
    return subprocess.run(SERVE, input=content, capture_output=True, timeout=timeout, check=False)


def test_initialize_is_answered_before_sources_and_sockets_are_loaded() -> None:
    program = (
        "import sys\n"
        "from gradtracer_server.language_server import GradTracerServer\n"
        "GradTracerServer()\n"
        "heavy = {'zmq', 'tree_sitter', 'msgspec', 'numpy', 'torch', 'scipy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import gradtracer_server.session\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    # The second line shows that the look at the modules can find them.
    assert output.stdout.decode().splitlines() == ["[]", "['msgspec', 'tree_sitter']"]


def test_a_goodbye_ends_with_status_zero() -> None:
    done = serve(packed(HELLO, INITIALIZED, SHUTDOWN, EXIT))
    assert done.returncode == 0
    assert done.stderr == b""


def test_an_exit_without_a_goodbye_ends_with_status_one() -> None:
    assert serve(packed(HELLO, INITIALIZED, EXIT)).returncode == 1


@pytest.mark.parametrize("content", [b"", packed(HELLO), packed(HELLO, INITIALIZED)])
def test_the_end_of_the_input_ends_the_server(content: bytes) -> None:
    done = serve(content)
    assert done.returncode == 1
    assert done.stderr == b""


async def test_the_end_of_the_input_ends_a_server_that_follows_a_live_run(
    project: RunFactory, live_run: RunWriter
) -> None:
    editor = Editor()
    await editor.start(project.root)
    live_run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    assert editor.process.stdin is not None
    editor.process.stdin.close()
    await asyncio.wait_for(editor.process.wait(), PATIENCE)
    await editor.client.stop()


@pytest.mark.parametrize(
    "noise",
    [
        b"Content-Length: 5\r\n\r\n{oops",
        b"Content-Length: 2\r\n\r\n[]",
        b"not a header\r\n\r\n",
        packed({"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"wrong": 1}}),
        packed({"jsonrpc": "2.0", "method": "$/unknown", "params": None}),
        packed({"jsonrpc": "2.0", "id": 9, "method": "no/such", "params": {}}),
        packed({"jsonrpc": "2.0", "id": "unasked", "result": None}),
    ],
)
def test_messages_that_make_no_sense_end_nothing_and_show_no_popup(noise: bytes) -> None:
    done = serve(packed(HELLO, INITIALIZED) + noise + packed(SHUTDOWN, EXIT))
    assert done.returncode == 0
    assert b"window/showMessage" not in done.stdout


def test_what_a_library_prints_does_not_reach_the_client() -> None:
    program = (
        "import gradtracer_server.features.lifecycle as lifecycle\n"
        "lifecycle.Life.begin = lambda self: print('stray output', flush=True)\n"
        "from gradtracer_server.server import serve\n"
        "raise SystemExit(serve())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=packed(HELLO, INITIALIZED, SHUTDOWN, EXIT),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert b"stray output" in done.stderr
    assert b"stray output" not in done.stdout


async def test_a_lone_file_is_its_own_workspace(editor: Editor, project: RunFactory) -> None:
    project.finished()
    await editor.start(None)
    editor.open(project.script)
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def test_a_folder_can_be_added_and_closed(editor: Editor, project: RunFactory) -> None:
    project.finished()
    elsewhere = project.root.parent / "elsewhere"
    elsewhere.mkdir()
    await editor.start(elsewhere)
    folder = types.WorkspaceFolder(uri=project.root.as_uri(), name="project")

    def change(added: list[types.WorkspaceFolder], removed: list[types.WorkspaceFolder]) -> None:
        event = types.WorkspaceFoldersChangeEvent(added=added, removed=removed)
        editor.client.workspace_did_change_workspace_folders(
            types.DidChangeWorkspaceFoldersParams(event)
        )

    change([folder], [])
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
    change([], [folder])
    await editor.codes(project.script)


async def test_a_folder_that_is_missing_is_no_error(editor: Editor, project: RunFactory) -> None:
    await editor.start(project.root / "missing")
    editor.open(project.script)
    assert await editor.hover(project.script, "self.item_emb") is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
async def test_a_folder_that_may_not_be_written_is_read(
    editor: Editor, project: RunFactory
) -> None:
    project.finished()
    before = sorted(path for path in project.root.rglob("*"))
    for path in [project.root, *project.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        await editor.start(project.root)
        editor.open(project.script)
        await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")
        assert sorted(path for path in project.root.rglob("*")) == before
    finally:
        for path in [project.root, *project.root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


async def test_files_of_other_languages_are_left_alone(editor: Editor, project: RunFactory) -> None:
    await editor.start(project.root)
    notes = project.root / "notes.md"
    notes.write_text("# self.item_emb\n", encoding="utf-8")
    editor.open(notes, "markdown")
    editor.replace(notes, "item_emb", "user_emb")
    assert await editor.hover(notes, "self.user_emb") is None
    editor.close(notes)


async def test_the_client_is_asked_to_watch_files(editor: Editor, project: RunFactory) -> None:
    await editor.start(project.root, options={"poll_seconds": 60})
    await editor.until(lambda: editor.registered)
    assert editor.registered[0].method == types.WORKSPACE_DID_CHANGE_WATCHED_FILES
    run = project.finished()
    event = types.FileEvent(run.folder.as_uri(), types.FileChangeType.Created)
    editor.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))
    await editor.codes(project.script, "ZOMBIE_EMBEDDINGS")


async def listening(root: Path) -> tuple[asyncio.subprocess.Process, int]:
    server = await asyncio.create_subprocess_exec(
        *SERVE, "--tcp", "127.0.0.1:0", cwd=root, stderr=asyncio.subprocess.PIPE
    )
    assert server.stderr is not None
    line = (await asyncio.wait_for(server.stderr.readline(), PATIENCE)).decode()
    return server, int(line.rpartition(":")[2])


async def test_over_tcp_one_client_is_served_and_its_leaving_ends_the_server(
    tmp_path: Path,
) -> None:
    server, port = await listening(tmp_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(packed(HELLO))
    assert (await reader.readline()).startswith(b"Content-Length")
    second, turned_away = await asyncio.open_connection("127.0.0.1", port)
    assert await second.read() == b""
    turned_away.close()
    with contextlib.suppress(ConnectionError):
        await turned_away.wait_closed()
    writer.close()
    await writer.wait_closed()
    assert await asyncio.wait_for(server.wait(), PATIENCE) == 1
    assert server.stderr is not None
    assert b"second client was turned away" in await server.stderr.read()


async def test_over_tcp_a_goodbye_ends_with_status_zero(tmp_path: Path) -> None:
    server, port = await listening(tmp_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(packed(HELLO, INITIALIZED, SHUTDOWN))
    await asyncio.wait_for(reader.readuntil(b'"id": 2'), PATIENCE)
    writer.write(packed(EXIT))
    await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert await asyncio.wait_for(server.wait(), PATIENCE) == 0


async def test_over_tcp_the_server_leaves_when_the_editor_has_died(tmp_path: Path) -> None:
    server, port = await listening(tmp_path)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; sys.stdin.read()", stdin=asyncio.subprocess.PIPE
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    hello = {**HELLO, "params": {"processId": parent.pid, "rootUri": None, "capabilities": {}}}
    unknown = {"jsonrpc": "2.0", "id": 3, "method": "no/such", "params": {}}
    writer.write(packed(hello, INITIALIZED, unknown))
    # Its answer shows that the session has begun.
    await asyncio.wait_for(reader.readuntil(b'"id": 3'), PATIENCE)
    parent.kill()
    await parent.wait()
    assert await asyncio.wait_for(server.wait(), PATIENCE) == 1
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
