"""The connection file: written after the socket is bound, readable by its owner only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from gradtracer_schemas import Connection


def write_connection_file(path: Path, connection: Connection) -> None:
    """Write atomically with mode 0600. Raises OSError."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(connection))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def is_private(path: Path) -> bool:
    """Whether its owner alone may read it: some file systems keep no modes."""
    return os.name == "nt" or path.stat().st_mode & 0o077 == 0


def remove_connection_file(path: Path) -> None:
    """Remove it; a missing file is fine."""
    with contextlib.suppress(OSError):
        path.unlink()


def process_start_stamp() -> str:
    """Start stamp of this process as the operating system counts it, or an empty string.

    On Linux field 22 of /proc/self/stat (clock ticks since boot): with the pid it names a process
    even after the pid was used again.
    """
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        # The command name in parentheses may hold spaces, so count from its end.
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
