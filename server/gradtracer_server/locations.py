"""Places as the client counts them: URIs to paths, code points to the negotiated units."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from lsprotocol import types

from gradtracer_server.source.position import Position, Range

if TYPE_CHECKING:
    from collections.abc import Sequence


def path_of(uri: str) -> Path | None:
    """The file a URI names, symlinks resolved; None for anything but a local file.

    A notebook's cell has a name below that of its notebook, `model.ipynb#W2sZmlsZQ`, and no file.
    """
    try:
        parts = urlsplit(uri)
        if is_cell(uri):
            notebook = Path(_file_name(parts)).resolve()
            return notebook.with_name(f"{notebook.name}#{parts.fragment.replace('/', '_')}")
        if parts.scheme != "file" or "\0" in unquote(parts.path):
            return None
        return Path(_file_name(parts)).resolve()
    except (ValueError, OSError, RuntimeError):
        return None


def is_cell(uri: str) -> bool:
    """Whether a URI names a cell of a notebook: its notebook's path, and a fragment."""
    parts = urlsplit(uri)
    return bool(parts.fragment) and (
        parts.scheme == "vscode-notebook-cell" or parts.path.endswith(".ipynb")
    )


def _file_name(parts: SplitResult) -> str:
    if os.name != "nt":
        return unquote(parts.path)
    from urllib.request import url2pathname

    return url2pathname(f"//{parts.netloc}{parts.path}" if parts.netloc else parts.path)


class PositionUnits:
    """Columns in Unicode code points to columns in the client's units, and back.

    A column past the end of its line means the end of the line, as the protocol says.
    """

    def __init__(self, encoding: str | types.PositionEncodingKind | None) -> None:
        self.encoding = types.PositionEncodingKind(encoding or "utf-16")

    def to_client(self, line: str, column: int) -> int:
        """Units before the code point `column` of `line`."""
        before = line[:column]
        if self.encoding == types.PositionEncodingKind.Utf32 or before.isascii():
            return len(before)
        if self.encoding == types.PositionEncodingKind.Utf8:
            return len(before.encode("utf-8", "surrogatepass"))
        return len(before.encode("utf-16-le", "surrogatepass")) // 2

    def from_client(self, line: str, character: int) -> int:
        """Code points before the unit `character` of `line`."""
        character = max(character, 0)
        if self.encoding == types.PositionEncodingKind.Utf32 or line.isascii():
            return min(character, len(line))
        column = 0
        units = 0
        while column < len(line) and units < character:
            units += self.to_client(line[column], 1)
            column += 1
        return column

    def range_to_client(self, lines: Sequence[str], place: Range) -> types.Range:
        """A range of a text in the client's units."""
        return types.Range(
            start=self.position_to_client(lines, place.start),
            end=self.position_to_client(lines, place.end),
        )

    def position_from_client(self, lines: Sequence[str], position: types.Position) -> Position:
        """A client's position in code points, inside the text."""
        if position.line >= len(lines):
            return Position(max(len(lines) - 1, 0), len(lines[-1]) if lines else 0)
        line = max(position.line, 0)
        return Position(line, self.from_client(lines[line], position.character))

    def range_from_client(self, lines: Sequence[str], place: types.Range) -> Range:
        """A client's range in code points, inside the text."""
        return Range(
            self.position_from_client(lines, place.start),
            self.position_from_client(lines, place.end),
        )

    def position_to_client(self, lines: Sequence[str], position: Position) -> types.Position:
        """A position of a text in the client's units."""
        line, column = position
        text = lines[line] if line < len(lines) else ""
        return types.Position(line=line, character=self.to_client(text, column))
