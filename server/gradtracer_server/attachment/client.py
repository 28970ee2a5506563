"""A command's side: the editors that are open on a project, and what they have not saved."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gradtracer_server.attachment.wire import (
    FOLDER,
    MAX_MESSAGE_BYTES,
    Answer,
    EditorFile,
    NewText,
    Request,
)
from gradtracer_server.discovery import HOME
from gradtracer_server.exceptions import JournalUnreadable
from gradtracer_server.fixes.application import Change, Outcome
from gradtracer_server.journal import open_regular
from gradtracer_server.liveness import process_alive

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
"""A busy editor has this long to tell its texts; it is left out then."""
EDIT_SECONDS = 30.0
"""An editor may ask its user before it makes an edit."""
_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Editor:
    """A language server that is open on the project."""

    file: EditorFile

    def unsaved(self) -> dict[Path, str]:
        """The texts that its buffers hold and the disk does not; empty when it does not answer."""
        answer = self._ask("unsaved", ANSWER_SECONDS)
        return {Path(path): text for path, text in answer.unsaved.items()} if answer else {}

    def edit(self, changes: Sequence[Change], label: str) -> Outcome:
        """Have it make the changes in its buffers, all or none; nothing is saved."""
        wanted = [
            NewText(
                path=str(change.path),
                before_sha256=hashlib.sha256(change.before).hexdigest(),
                after=change.after.decode("utf-8", "surrogatepass"),
            )
            for change in changes
        ]
        answer = self._ask("edit", EDIT_SECONDS, wanted, label)
        if answer is None:
            return Outcome("conflict", "the editor with unsaved changes does not answer")
        if answer.applied:
            return Outcome("applied", "in the open editor: it is to be saved there")
        return Outcome("stale" if answer.stale else "conflict", answer.reason or "not made")

    def _ask(
        self, ask: str, seconds: float, changes: Sequence[NewText] = (), label: str = ""
    ) -> Answer | None:
        request = Request(token=self.file.token, ask=ask, changes=list(changes), label=label)  # pyright: ignore[reportArgumentType]
        try:
            address = ("127.0.0.1", self.file.port)
            with socket.create_connection(address, timeout=seconds) as connection:
                connection.sendall(msgspec.json.encode(request) + b"\n")
                with connection.makefile("rb") as lines:
                    return msgspec.json.decode(lines.readline(MAX_MESSAGE_BYTES), type=Answer)
        except (OSError, msgspec.DecodeError) as error:
            logger.info("the editor of process %d does not answer: %s", self.file.pid, error)
            return None


def editors(roots: Iterable[Path]) -> list[Editor]:
    """The editors that are open on some projects; files that others could have written aside."""
    found: dict[int, Editor] = {}
    for root in roots:
        folder = root / HOME / FOLDER
        try:
            paths = sorted(folder.glob("*.json"))
        except OSError:
            continue
        for path in paths:
            file = _read(path)
            if file is not None and process_alive(file.pid, file.process_started) is not False:
                found[file.pid] = Editor(file)
    return list(found.values())


def _read(path: Path) -> EditorFile | None:
    try:
        descriptor = open_regular(path)
    except JournalUnreadable:
        return None
    try:
        if not _private(descriptor):
            logger.info("%s: not believed, others than its owner may write it", path)
            return None
        return msgspec.json.decode(os.read(descriptor, _FILE_BYTES), type=EditorFile)
    except (OSError, msgspec.DecodeError):
        return None
    finally:
        os.close(descriptor)


def _private(descriptor: int) -> bool:
    """Whether the user alone wrote the file: one that came with a checkout has other rights."""
    if not hasattr(os, "getuid"):
        return True
    status = os.fstat(descriptor)
    return status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
