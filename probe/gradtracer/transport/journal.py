"""Append-only journal of a run: one JSON event a line."""

from __future__ import annotations

import os
from pathlib import Path


class JournalWriter:
    """Appends lines so that a process killed between two calls leaves whole lines behind.

    A line goes out in one `write` without user-space buffer: after `kill -9` the kernel still
    holds it, and only a machine crash can tear the last one.
    """

    def __init__(self, path: Path) -> None:
        """Create the file and its folder. Raises OSError where that is not allowed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _O_BINARY, 0o600)

    def append(self, lines: list[bytes]) -> None:
        """Write the lines, each ended by a line feed. Raises OSError, e.g. on a full disk."""
        content = memoryview(b"".join(line + b"\n" for line in lines))
        while content:
            content = content[os.write(self._fd, content) :]

    @property
    def is_gone(self) -> bool:
        """Whether the file was deleted since: what is written reaches nobody."""
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


_O_BINARY = getattr(os, "O_BINARY", 0)
