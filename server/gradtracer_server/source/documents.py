"""Texts by path: the editor's buffer when the file is open, else the file on disk."""

from __future__ import annotations

import os
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

from gradtracer_server.source.cells import Cells, without_magics
from gradtracer_server.source.edits import TextEdit, apply_edits
from gradtracer_server.source.index import Range, SourceText
from gradtracer_server.source.notebooks import SUFFIX, cell_path, code_cells, file_of, with_cell
from gradtracer_server.source.shift import LineShift

MAX_FILE_BYTES = 5 * 1024 * 1024
"""A larger file is no source that someone wrote."""
MAX_CACHED_FILES = 128
"""Parsed files of the disk kept at a time."""

Change = tuple[Range | None, str]
"""New text for a range, or for the whole document."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")

_Stamp = tuple[int, int, int]
_UNSETTLED: _Stamp = (-1, -1, -1)
_CLOCK_GRAIN_NS = 50_000_000
"""File systems count in steps of up to some milliseconds."""


class Documents:
    """What the user's files say now. Not for use by several threads at once."""

    def __init__(self) -> None:
        self._open: dict[Path, _Document] = {}
        self._cached: OrderedDict[Path, tuple[_Stamp, SourceText | None]] = OrderedDict()
        self.cells = Cells()
        """The notebook cells among the open buffers."""
        self._notebooks: dict[Path, str] = {}
        """The notebooks that were taken from files, with their contents."""

    def open(self, path: Path, text: str, version: int) -> None:
        """A buffer takes the file's place."""
        document = _Document(SourceText.parse(text), version)
        for name in _names(path):
            self._open[name] = document

    def open_cell(self, path: Path, text: str, version: int) -> None:
        """A cell of a notebook: a buffer that no file is behind."""
        self.cells.note(path, text)
        self._open[path] = _Cell(text, version)

    def take(self, path: Path, content: str) -> None:
        """Let a content take the file's place; of a notebook, as the cells it is made of."""
        if path.suffix != SUFFIX:
            self.open(path, content, 0)
            return
        self._notebooks[path] = content
        for cell in code_cells(content):
            self.open_cell(cell_path(path, cell.number), cell.text, 0)

    def rewritten(
        self, path: Path, edits: Sequence[TextEdit], content: str | None = None
    ) -> tuple[Path, str, str] | None:
        """The file that a text is in, its content, and what edits of the text make of it.

        `content`: what other edits have made of it already. None for a file that cannot be read.
        """
        source = self.get(path)
        file, number = file_of(path)
        if source is None or (number is not None and file not in self._notebooks):
            return None
        if number is None:
            return path, source.text, apply_edits(source.text, edits)
        cell = self._open[path]
        assert isinstance(cell, _Cell)
        # Lines of IPython's own syntax are read as comments of the same length.
        after = apply_edits(cell.text, edits)
        before = self._notebooks[file]
        return file, before, with_cell(before if content is None else content, number, after)

    def apply(self, path: Path, changes: Sequence[Change], version: int) -> None:
        """Edits of an open buffer, each made to the result of the one before."""
        document = self._open.get(path)
        if document is None:
            return
        for where, new_text in changes:
            document.change(where, new_text)
        document.version = version
        if isinstance(document, _Cell):
            self.cells.note(path, document.text)

    def close(self, path: Path) -> None:
        """The file on disk counts again."""
        document = self._open.get(path)
        self.cells.forget(path)
        self._open = {name: other for name, other in self._open.items() if other is not document}

    def get(self, path: Path) -> SourceText | None:
        """The text; None for a file that is missing, not UTF-8, not a file, or over 5 MB."""
        document = self._open.get(path)
        return document.source if document is not None else self._from_disk(path)

    def version(self, path: Path) -> int | None:
        """The editor's version of an open buffer."""
        document = self._open.get(path)
        return None if document is None else document.version

    def current_line(self, path: Path, line: int) -> int:
        """Where a line of the text as it was opened is by now; both from 0."""
        document = self._open.get(path)
        return line if document is None else document.shift.current(line)

    def known_scopes(self, path: Path) -> Collection[str] | None:
        """The scopes of an open buffer when it was opened; None for a file that is not open."""
        document = self._open.get(path)
        return None if document is None else document.known_scopes

    def _from_disk(self, path: Path) -> SourceText | None:
        try:
            status = path.stat()
        except (OSError, ValueError):
            self._cached.pop(path, None)
            return None
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._cached.get(path)
        if known is None or known[0] != stamp:
            before = None if known is None else known[1]
            known = (stamp, _read(path, status, before))
            # Of a file written a moment ago the time of the last write may not tell the next one.
            settled = time.time_ns() - status.st_mtime_ns > _CLOCK_GRAIN_NS
            self._cached[path] = known if settled else (_UNSETTLED, known[1])
        self._cached.move_to_end(path)
        while len(self._cached) > MAX_CACHED_FILES:
            self._cached.popitem(last=False)
        return known[1]


class _Document:
    """An open buffer."""

    def __init__(self, source: SourceText, version: int) -> None:
        self.source = source
        self.version = version
        self.shift = LineShift(source.lines)
        self._opened: SourceText | None = source

    @cached_property
    def known_scopes(self) -> frozenset[str]:
        """Scopes of the text as it was opened; looked for when they are first asked for."""
        opened, self._opened = self._opened, None
        return frozenset(each.scope for each in opened.statements) if opened else frozenset()

    def change(self, where: Range | None, new_text: str) -> None:
        """Make one edit, of no more of the text than it changes."""
        source = self.source
        first, last = 0, len(source.text)
        if where is not None:
            first, last = sorted((source.offset(where.start), source.offset(where.end)))
        first, last, new_text = _narrowed(source.text, first, last, new_text)
        start, end = source.position_at(first), source.position_at(last)
        self.source = source.edit(start, end, new_text)
        self.shift.apply(start, end, new_text)


class _Cell(_Document):
    """A notebook's cell: its text, and the Python that it is read as."""

    def __init__(self, text: str, version: int) -> None:
        super().__init__(SourceText.parse(without_magics(text)), version)
        self.text = text

    def change(self, where: Range | None, new_text: str) -> None:
        """Make one edit; what it does to lines of IPython's own syntax is found anew."""
        if where is not None:
            first, last = sorted((self.source.offset(where.start), self.source.offset(where.end)))
            new_text = self.text[:first] + new_text + self.text[last:]
        self.text = new_text
        super().change(None, without_magics(new_text))


def _narrowed(text: str, first: int, last: int, new_text: str) -> tuple[int, int, str]:
    """The same edit without the lines that it replaces by themselves.

    Formatters, and clients that send the whole text, replace more than they change.
    """
    old, new = _LINE.findall(text[first:last]), _LINE.findall(new_text)
    most = min(len(old), len(new))
    same = 0
    while same < most and old[same] == new[same]:
        same += 1
    tail = 0
    while tail < most - same and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    first += sum(map(len, old[:same]))
    last -= sum(map(len, old[len(old) - tail :]))
    new_text = "".join(new[same : len(new) - tail])
    # A carriage return and a line feed that come together through the edit are one line break.
    if text[first - 1 : first] == "\r" and (new_text or text[last : last + 1]).startswith("\n"):
        first, new_text = first - 1, f"\r{new_text}"
    if new_text.endswith("\r") and text[last : last + 1] == "\n":
        last, new_text = last + 1, f"{new_text}\n"
    return first, last, new_text


def _names(path: Path) -> set[Path]:
    try:
        return {path, path.resolve()}
    except (OSError, RuntimeError):
        return {path}


def _read(path: Path, status: os.stat_result, known: SourceText | None) -> SourceText | None:
    """The file's text; what is known of it where that has not changed."""
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
        return None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if known is not None and known.text == text:
        return known
    return SourceText.parse(text) if len(content) <= MAX_FILE_BYTES else None
