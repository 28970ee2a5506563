"""Whether the process that writes a run still lives: its id, and its start stamp."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def process_alive(pid: int, started: str = "") -> bool | None:
    """Whether process `pid` of this machine runs and is the one that started at `started`.

    `started` is field 22 of `/proc/PID/stat` as the writer read it; empty where the system has no
    such file, and then only the id counts. None: this system gives no cheap answer.
    """
    if pid <= 0:
        return False
    if sys.platform.startswith("linux"):
        return _alive_on_linux(pid, started)
    # On Windows os.kill ends the process whatever the signal.
    if sys.platform == "win32":
        return None
    return _answers_signal(pid)


def started_stamp(pid: int) -> str:
    """Start stamp of a process of this machine; empty where the system gives none."""
    fields = _stat_fields(pid)
    return fields[19] if len(fields) > 19 else ""


def _alive_on_linux(pid: int, started: str) -> bool:
    fields = _stat_fields(pid)
    if not fields:
        return False if Path("/proc/self/stat").exists() else _answers_signal(pid)
    if fields[0] in {"Z", "X", "x"}:
        return False
    return not started or len(fields) <= 19 or fields[19] == started


def _stat_fields(pid: int) -> list[str]:
    """Fields 3 and following of `/proc/PID/stat`: the name before them may hold any character."""
    try:
        content = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return content.rpartition(b")")[2].decode("ascii", "replace").split()


def _answers_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
