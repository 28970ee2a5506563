"""Notebook cells, as a kernel names their code."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gradtracer_schemas import cell_digest

_CELL = re.compile(r"<ipython-input-|.*[/\\]ipykernel_\d+[/\\]\d+\.py$")


def is_cell(file: str) -> bool:
    """Whether a code object's file name is one that IPython or its kernel made up for a cell."""
    return _CELL.match(file) is not None


def digest_of(file: str, lines: Iterable[str]) -> str:
    """The digest of a cell's lines, as it was run; empty for what is no cell."""
    return cell_digest("".join(lines)) if is_cell(file) else ""
