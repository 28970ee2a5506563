"""Which finding is which across runs: an id names one run, a fingerprint names the problem."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradtracer_schemas import Diagnosis
    from gradtracer_server.runs import Run

_LENGTH = 16


def fingerprint(diagnosis: Diagnosis, run: Run) -> str:
    """16 hexadecimal digits of the type, the layer, and the file and scope that define it.

    Lines and the statement's text are left out: a layer that moved, or took another width, has the
    same problem still.
    """
    parts = (diagnosis.type, diagnosis.layer, *_scope(diagnosis, run))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]


def _scope(diagnosis: Diagnosis, run: Run) -> tuple[str, str]:
    """File, from the run's root, and qualified name of the innermost frame below the root."""
    root = os.path.normpath(run.started.root) if run.started else ""
    for frame in diagnosis.site.frames:
        file = PurePath(os.path.normpath(frame.file))
        if root and file.is_relative_to(root):
            return file.relative_to(root).as_posix(), frame.qualname
    return "", ""
