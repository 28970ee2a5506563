"""Standard output that takes any text: what a terminal cannot show is escaped, not an error."""

from __future__ import annotations

import io
import sys


def say(text: str) -> None:
    """Print lines of a command's answer."""
    _tolerant(sys.stdout)
    print(text)


def note(text: str) -> None:
    """Print what is not part of the answer."""
    _tolerant(sys.stderr)
    print(text, file=sys.stderr)


def _tolerant(stream: object) -> None:
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
