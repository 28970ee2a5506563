"""The notebooks of a workspace, for findings in cells: a kernel does not say whose cell it ran."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gradtracer_server.discovery import folders_below
from gradtracer_server.exceptions import JournalUnreadable
from gradtracer_server.journal import open_regular
from gradtracer_server.source.notebooks import SUFFIX

MAX_BYTES = 64 * 1024 * 1024
"""A larger notebook is not read: its outputs are not what anyone looks for here."""


def notebooks(roots: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The notebooks in and below some folders, with their contents; those of UTF-8."""
    folders = (each for root in roots for each in (root, *folders_below(root)))
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            content = _content(path)
            if content is not None:
                yield path, content


def _content(path: Path) -> str | None:
    try:
        descriptor = open_regular(path)
    except JournalUnreadable:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        return content.decode("utf-8") if len(content) <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None
