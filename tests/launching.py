"""Programs that start workers of their own, ended with them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patience import PATIENCE

_GRACE = 60.0
"""Seconds that a launcher is given to end its workers, which takes PyTorch's thirty at most."""


def run_with_workers(
    command: Sequence[str], folder: Path, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run to its end and keep what it says; ended after `PATIENCE`, which raises TimeoutExpired.

    A launcher that is killed leaves its workers behind, which are in sessions of their own.
    """
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except BaseException:
        end(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def end(process: subprocess.Popen[str]) -> None:
    """Ask it to end, so that it ends its workers first; kill it where it does not."""
    process.terminate()
    try:
        process.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
