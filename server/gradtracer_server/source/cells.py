"""The cells of the notebooks that are open, and which of them a recorded statement was run in.

A kernel names no file: a cell is known again by the digest of its lines, as they are or as they
were at some time since the notebook was opened. What it was before that, nobody here has seen.
"""

from __future__ import annotations

import re
from pathlib import Path

from gradtracer_schemas import SourceFrame, cell_digest
from gradtracer_server.source.edits import syntax_errors

MOST_VERSIONS = 2000
"""Digests of a cell that are remembered: one for each edit."""

_MAGIC = re.compile(r"^\s*[%!]", re.MULTILINE)


class Cells:
    """Which cells are open, and what their texts have been."""

    def __init__(self) -> None:
        self._digests: dict[Path, dict[str, None]] = {}

    def note(self, path: Path, text: str) -> None:
        """A cell says this now."""
        seen = self._digests.setdefault(path, {})
        digest = cell_digest(text)
        seen.pop(digest, None)
        seen[digest] = None
        while len(seen) > MOST_VERSIONS:
            del seen[next(iter(seen))]

    def forget(self, path: Path) -> None:
        """A cell was closed."""
        self._digests.pop(path, None)

    def run_as(self, frame: SourceFrame) -> list[Path]:
        """The cells that have read as the cell of a frame did, those first that do so now."""
        been = [path for path, seen in self._digests.items() if frame.cell in seen]
        return sorted(been, key=lambda path: next(reversed(self._digests[path])) != frame.cell)

    def all(self) -> list[Path]:
        """Every open cell."""
        return list(self._digests)


def without_magics(text: str) -> str:
    """A cell as Python: lines of IPython's own syntax are comments, every other place is kept.

    A line that begins with a per cent sign may go on with an expression: only where it is an error
    is it taken for a magic.
    """
    if not _MAGIC.search(text):
        return text
    lines = text.splitlines(keepends=True)
    for index, line in enumerate(lines):
        start = len(line) - len(line.lstrip())
        if not _MAGIC.match(line):
            continue
        as_comment = [*lines[:index], f"{line[:start]}#{line[start + 1 :]}", *lines[index + 1 :]]
        if index == 0 or syntax_errors("".join(as_comment)) < syntax_errors("".join(lines)):
            lines = as_comment
    return "".join(lines)
