"""Notebooks as files: their code cells, and one cell's text put back with all else as it was.

The file is JSON, which a parser and a writer would hand back in another layout, with other escapes
and in another order. So the places of the values are found, and only the lines that change are
written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

SUFFIX = ".ipynb"

_SPACE = re.compile(r"[ \t\r\n]*")
_CELL = re.compile(r"(?P<notebook>.+\.ipynb):cell (?P<number>[1-9]\d*)")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_UNIT = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|[^\\]", re.DOTALL)
"""One character of a string as JSON writes it."""

_decoder = json.JSONDecoder()


class Value(NamedTuple):
    """Where a value of a JSON text stands."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NotebookCell:
    """A code cell of a notebook file."""

    number: int
    """Its place among all cells, from 1."""
    text: str
    """Its source."""
    source: Value
    """The string or the list of strings in the file that it is written in."""


def cell_path(notebook: Path, number: int) -> Path:
    """The name that a cell of a file goes by: no file, `study.ipynb:cell 3`."""
    return notebook.with_name(f"{notebook.name}:cell {number}")


def file_of(path: Path) -> tuple[Path, int | None]:
    """The file that a text is in; of a cell of a file, the notebook and the cell's number."""
    match = _CELL.fullmatch(path.name)
    if match is None:
        return path, None
    return path.with_name(match["notebook"]), int(match["number"])


def code_cells(content: str) -> list[NotebookCell]:
    """The code cells of a notebook's content; none where it cannot be read as one."""
    try:
        return list(_code_cells(content))
    except (ValueError, LookupError, RecursionError):
        return []


def with_cell(content: str, number: int, text: str) -> str:
    """The notebook's content with another source in one of its cells."""
    cell = next(each for each in code_cells(content) if each.number == number)
    source = content[cell.source.start : cell.source.end]
    write = _in_list if source.startswith("[") else _in_string
    new = write(content, cell, text)
    return content[: cell.source.start] + new + content[cell.source.end :]


def _code_cells(content: str) -> Iterator[NotebookCell]:
    # A byte order mark is no part of the JSON.
    top = _members(content, _skip(content, int(content.startswith("\ufeff"))))
    for number, cell in enumerate(_items(content, top["cells"].start), 1):
        parts = _members(content, cell.start)
        kind = parts.get("cell_type")
        source = parts.get("source")
        if kind is None or source is None or content[kind.start : kind.end] != '"code"':
            continue
        said: Any = _decoder.raw_decode(content, source.start)[0]
        lines: list[Any] = said if isinstance(said, list) else [said]
        if all(isinstance(line, str) for line in lines):
            yield NotebookCell(number, "".join(lines), source)


def _members(content: str, at: int) -> dict[str, Value]:
    """The values of an object by their names."""
    found: dict[str, Value] = {}
    at = _opened(content, at, "{")
    while content[at] != "}":
        name, at = _decoder.raw_decode(content, at)
        start = _skip(content, _opened(content, _skip(content, at), ":"))
        end = _decoder.raw_decode(content, start)[1]
        found[name] = Value(start, end)
        at = _skip(content, end)
        at = _skip(content, at + 1) if content[at] == "," else at
    return found


def _items(content: str, at: int) -> list[Value]:
    """The values of a list."""
    found: list[Value] = []
    at = _opened(content, at, "[")
    while content[at] != "]":
        end = _decoder.raw_decode(content, at)[1]
        found.append(Value(at, end))
        at = _skip(content, end)
        at = _skip(content, at + 1) if content[at] == "," else at
    return found


def _opened(content: str, at: int, mark: str) -> int:
    if content[at] != mark:
        raise ValueError(f"expected {mark!r} at character {at}, got {content[at]!r}")
    return _skip(content, at + 1)


def _skip(content: str, at: int) -> int:
    match = _SPACE.match(content, at)
    return at if match is None else match.end()


def _in_list(content: str, cell: NotebookCell, text: str) -> str:
    """The list of lines, with other lines where they differ."""
    items = _items(content, cell.source.start)
    if not items:
        return json.dumps(_LINE.findall(text), ensure_ascii=content.isascii())
    old: list[str] = [_decoder.raw_decode(content, each.start)[0] for each in items]
    new = _LINE.findall(text)
    raw = [content[each.start : each.end] for each in items]
    gaps = [content[a.end : b.start] for a, b in pairwise(items)]
    gap = gaps[0] if gaps else f",{content[cell.source.start + 1 : items[0].start]}"
    parts: list[tuple[str, str]] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            parts += zip(raw[i1:i2], [*gaps[i1:i2], gap], strict=False)
        else:
            parts += [(_written(line, content), gap) for line in new[j1:j2]]
    if not parts:
        return "[]"
    opened = content[cell.source.start : items[0].start]
    closed = content[items[-1].end : cell.source.end]
    return opened + "".join(line + gap for line, gap in parts[:-1]) + parts[-1][0] + closed


def _in_string(content: str, cell: NotebookCell, text: str) -> str:
    """The one string, with other characters where they differ."""
    raw = content[cell.source.start + 1 : cell.source.end - 1]
    most = min(len(cell.text), len(text))
    head = next((n for n in range(most) if cell.text[n] != text[n]), most)
    most -= head
    tail = next((n for n in range(most) if cell.text[-1 - n] != text[-1 - n]), most)
    units = [0, *accumulate(map(len, _UNIT.findall(raw)))]
    new = _written(text[head : len(text) - tail], content)[1:-1]
    return f'"{raw[: units[head]]}{new}{raw[units[len(cell.text) - tail] :]}"'


def _written(text: str, content: str) -> str:
    """A string in JSON, in the letters that the file uses."""
    return json.dumps(text, ensure_ascii=content.isascii())
