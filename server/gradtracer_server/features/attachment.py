"""The language server's side: tells unsaved texts, and has the editor make an edit."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from gradtracer_server.attachment.wire import (
    FOLDER,
    MAX_MESSAGE_BYTES,
    Answer,
    EditorFile,
    Request,
)
from gradtracer_server.features.proposed_edits import edit_of
from gradtracer_server.liveness import process_alive, started_stamp
from gradtracer_server.source.edits import TextEdit, line_edits

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
"""How long a connection may take to say what it wants."""


class Listener:
    """Open from the first run that is shown to the end of the session; lives on the event loop."""

    def __init__(self, ls: GradTracerServer) -> None:
        self._ls = ls
        self._token = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._opening = False
        self._files: dict[Path, Path] = {}

    def announce(self, homes: Iterable[Path]) -> None:
        """Say in each `.gradtracer` folder where this server listens; once for each."""
        new = [home for home in homes if home not in self._files]
        if not new:
            return
        if self._server is not None:
            self._write(new)
        elif not self._opening:
            self._opening = True
            self._ls.life.spawn(self._open(new), "attachment")

    def close(self) -> None:
        """Listen no longer and remove what says so."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for path in self._files.values():
            with contextlib.suppress(OSError):
                path.unlink()
        self._files.clear()

    async def _open(self, homes: list[Path]) -> None:
        try:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", 0, limit=MAX_MESSAGE_BYTES
            )
        except OSError as error:
            logger.warning("commands cannot see unsaved texts: %s", error)
            return
        self._write(homes)

    def _write(self, homes: Iterable[Path]) -> None:
        assert self._server is not None
        pid = os.getpid()
        content = msgspec.json.encode(
            EditorFile(
                pid=pid,
                process_started=started_stamp(pid),
                port=self._server.sockets[0].getsockname()[1],
                token=self._token,
            )
        )
        for home in homes:
            path = home / FOLDER / f"{pid}.json"
            self._files[home] = path
            try:
                # By its own bits: root could write where nobody is meant to.
                if not home.stat().st_mode & 0o222:
                    continue
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _sweep(path.parent)
                path.unlink(missing_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                    file.write(content)
            except OSError as error:
                logger.info("%s: %s: commands cannot see unsaved texts here", path, error.strerror)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), REQUEST_SECONDS)
            request = msgspec.json.decode(line, type=Request)
            if not hmac.compare_digest(request.token.encode(), self._token.encode()):
                raise ValueError("a request with another token")
            answer = await self._answer(request)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
        except (msgspec.DecodeError, ValueError, TimeoutError, OSError, RecursionError) as error:
            logger.info("a connection was closed: %s", error)
        finally:
            writer.close()

    async def _answer(self, request: Request) -> Answer:
        if self._ls.session is None:
            return Answer(reason="the server is leaving")
        if request.ask == "unsaved":
            return Answer(unsaved=self._unsaved())
        return await self._edit(request)

    def _unsaved(self) -> dict[str, str]:
        assert self._ls.session is not None
        documents = self._ls.session.documents
        found: dict[str, str] = {}
        for path in self._ls.uris:
            source = documents.get(path)
            if source is not None and _bytes(source.text) != _disk(path):
                found[str(path)] = source.text
        return found

    async def _edit(self, request: Request) -> Answer:
        session = self._ls.session
        assert session is not None
        if not self._ls.support.applies_edits:
            return Answer(reason="this editor makes no edits that it did not ask for")
        made: dict[Path, list[TextEdit]] = {}
        for change in request.changes:
            path = self._spelt(Path(change.path))
            source = session.documents.get(path)
            if source is None or _sha256(source.text) != change.before_sha256:
                return Answer(stale=True, reason=f"{path} has changed in the editor")
            made[path] = line_edits(source.text, change.after)
        try:
            answer = await self._ls.workspace_apply_edit_async(
                types.ApplyWorkspaceEditParams(edit=edit_of(self._ls, made), label=request.label)
            )
        except JsonRpcException as error:
            return Answer(reason=str(error))
        return Answer(applied=answer.applied, reason=answer.failure_reason or "")

    def _spelt(self, path: Path) -> Path:
        """The path as the editor spells it: it may have opened the file by a link."""
        if path in self._ls.uris:
            return path
        real = path.resolve()
        return next((each for each in self._ls.uris if each.resolve() == real), path)


def _sweep(folder: Path) -> None:
    """Remove what servers left that were killed."""
    for path in folder.glob("*.json"):
        if path.stem.isdecimal() and process_alive(int(path.stem)) is False:
            path.unlink(missing_ok=True)


def _disk(path: Path) -> bytes | None:
    """What the file says; editors keep a byte order mark to themselves."""
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError:
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").removeprefix(codecs.BOM_UTF8)
