"""What a command and a live language server say to each other, and the file by which they meet.

A language server listens on the loopback interface and says where in
`.gradtracer/editors/PID.json`, mode 0600, with a token. A command connects, sends one request as a
line of JSON and reads one answer. Who can read the file can write the user's source as well, so the
token opens no door that was shut.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A longer request or answer is refused."""
FOLDER = "editors"
"""Name of the folder below `.gradtracer`."""


class EditorFile(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of `.gradtracer/editors/PID.json`."""

    pid: int
    """Process of the language server."""
    process_started: str = ""
    """Its start stamp; tells a reused pid."""
    port: int
    """Where it listens on 127.0.0.1."""
    token: str
    """What a request must bring."""


class NewText(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to say something else."""

    path: str
    """Absolute path."""
    before_sha256: str
    """Of the text that the change starts from, UTF-8."""
    after: str
    """The whole text after it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One line from a command."""

    token: str
    ask: Literal["unsaved", "edit"]
    """`unsaved`: the texts that differ from the disk. `edit`: make `changes`, all or none."""
    changes: list[NewText] = []
    label: str = ""
    """What the editor may call the edit in its list of things to undo."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One line back."""

    unsaved: dict[str, str] = {}
    """Unsaved texts by absolute path."""
    applied: bool = False
    """Whether the edit stands in the editor's buffers."""
    stale: bool = False
    """It was not made because a text is not the expected one."""
    reason: str = ""
    """Why it was not made."""
