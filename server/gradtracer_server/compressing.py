"""Has a checkpoint compressed by a process of the user's interpreter: this one imports no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from gradtracer_schemas import CheckpointLine, CheckpointRequest, CheckpointResult
from gradtracer_server.exceptions import CompressionFailed

_LAST_LINES = 5
"""Lines of the process's own complaint that are repeated."""
MAX_LINE_BYTES = 1 << 20
"""A longer line is no answer of ours."""

Tell = Callable[[str], None]


def compress_checkpoint(
    request: CheckpointRequest,
    folder: Path,
    tell: Tell = lambda _: None,
    python: str = sys.executable,
) -> CheckpointResult:
    """Start the process, pass on what it tells, and wait for its answer.

    Args:
        request: What to do; its paths are relative to `folder`.
        folder: Where the user's modules are.
        tell: Called with what it does now.
        python: The interpreter that has torch and gradtracer.

    Raises:
        CompressionFailed: it could not be done; the text says why.
    """
    for what, name in (("a recipe", request.recipe), ("a checkpoint", request.checkpoint)):
        if not (folder / name).is_file():
            raise CompressionFailed(f"expected {what}, found no file {name!r}")
    # A module of the user's that watches a model at import is not to begin a run.
    environment = os.environ | {"GRADTRACER_ENABLED": "0"}
    command = [python, "-m", "gradtracer.compression", msgspec.json.encode(request).decode()]
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise CompressionFailed(f"{python} cannot be started: {error.strerror or error}") from None
    assert process.stdout is not None
    assert process.stderr is not None
    said: deque[str] = deque(maxlen=_LAST_LINES)
    listener = threading.Thread(target=_keep, args=(process.stderr, said), daemon=True)
    listener.start()
    try:
        answer = _answer(process.stdout, tell)
    finally:
        process.kill()
        process.wait()
        listener.join()
        process.stdout.close()
        process.stderr.close()
    if answer is None:
        why = "\n".join(said) or f"{python} ended without an answer"
        raise CompressionFailed(f"the checkpoint was not compressed: {why}")
    if answer.result is None:
        raise CompressionFailed(answer.error)
    return answer.result


def _answer(output: IO[bytes], tell: Tell) -> CheckpointLine | None:
    """The last word of the process; None where it ends without one."""
    while line := output.readline(MAX_LINE_BYTES):
        try:
            told = msgspec.json.decode(line, type=CheckpointLine)
        except msgspec.DecodeError:
            continue
        if told.result is not None or told.error:
            return told
        tell(told.progress)
    return None


def _keep(output: IO[bytes], said: deque[str]) -> None:
    for line in output:
        said.append(line.decode("utf-8", "replace").rstrip())
