"""Colours of a terminal, where one reads and has not asked for none.

`NO_COLOR` (https://no-color.org) wins over `FORCE_COLOR`; without either a terminal that is not
`dumb` gets colours, a pipe or a file none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, TextIO

from gradtracer_schemas import Severity

Tone = Severity | Literal["place", "fix", "faint"]
Paint = Callable[[str, Tone], str]

_CODES: dict[Tone, str] = {
    "place": "1",
    "error": "1;31",
    "warning": "1;33",
    "information": "1;34",
    "fix": "36",
    "faint": "2",
}


def plain(text: str, tone: Tone) -> str:
    """The text as it is."""
    return text


def coloured(text: str, tone: Tone) -> str:
    """The text between the codes of its tone (ECMA-48 SGR)."""
    return f"\x1b[{_CODES[tone]}m{text}\x1b[0m"


def paint_for(stream: TextIO) -> Paint:
    """What fits a stream."""
    if os.environ.get("NO_COLOR"):
        return plain
    if os.environ.get("FORCE_COLOR"):
        return coloured
    on_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return coloured if on_terminal else plain
