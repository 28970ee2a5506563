"""Where each module was really built, by looking at the stack while its constructor runs.

The twin that `gradtracer.locate` is measured against; it shares no code with it. A statement is
the one whose call made the object: the frame next to the outermost that has the object in its
arguments, PyTorch's own frames left out. A copy counts as built where its original was.
"""

from __future__ import annotations

import ast
import copy
import sys
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from torch import nn


class Place(NamedTuple):
    """A range of a file: lines from 1, columns in bytes from 0."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class Truth:
    """Records from `install` on; the modules are kept alive by whoever built them."""

    def __init__(self) -> None:
        self.calls: dict[int, Place] = {}
        """The call that built a module, by its id."""

    def install(self) -> None:
        """Look at every construction and every copy from now on."""
        plain, reconstruct = nn.Module.__init__, copy._reconstruct  # pyright: ignore

        def looking(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            self._look(module, sys._getframe(1))
            plain(module, *args, **kwargs)

        def copying(original: Any, *args: Any, **kwargs: Any) -> Any:
            made = reconstruct(original, *args, **kwargs)
            if isinstance(made, nn.Module) and id(original) in self.calls:
                self.calls[id(made)] = self.calls[id(original)]
            return made

        nn.Module.__init__ = looking
        copy._reconstruct = copying  # pyright: ignore

    def _look(self, module: nn.Module, innermost: FrameType) -> None:
        frames: list[FrameType] = []
        frame: FrameType | None = innermost
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        within = [n for n, each in enumerate(frames) if _is_given(each, module)]
        for frame in frames[max(within, default=-1) + 1 :]:
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] != "torch":
                positions = list(frame.f_code.co_positions())[frame.f_lasti // 2]
                line, end_line, column, end_column = (each or 0 for each in positions)
                file = str(Path(frame.f_code.co_filename).absolute())
                self.calls[id(module)] = Place(file, line, column, end_line, end_column)
                return


def _is_given(frame: FrameType, module: nn.Module) -> bool:
    """Whether a frame has the module among its arguments, be it in `*args`."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)
    values = frame.f_locals
    for name in code.co_varnames[:count]:
        value = values.get(name)
        if value is module or (type(value) is tuple and any(each is module for each in value)):
            return True
    return False


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"))


@cache
def statement_at(call: Place) -> Place | None:
    """The innermost statement around a call, of a compound one the header; None for no source."""
    try:
        body: list[ast.stmt] = _tree(call.file).body
    except (OSError, SyntaxError):
        return None
    found: ast.stmt | None = None
    while (inner := next((each for each in body if _holds(each, call)), None)) is not None:
        found = inner
        nested = [child for child in ast.walk(inner) if isinstance(child, ast.stmt)]
        body = [child for child in nested if child is not inner]
        # From the inside: of nested statements that hold the call, the smallest is wanted.
        body.sort(key=lambda each: (each.end_lineno or 0) - each.lineno)
    if found is None:
        return None
    end, end_column = found.end_lineno or found.lineno, found.end_col_offset or 0
    inside: list[ast.stmt] = getattr(found, "body", [])
    if inside:
        end, end_column = max(found.lineno, inside[0].lineno - 1), -1
    return Place(call.file, found.lineno, found.col_offset, end, end_column)


def _holds(statement: ast.stmt, call: Place) -> bool:
    start = (statement.lineno, statement.col_offset)
    end = (statement.end_lineno or 0, statement.end_col_offset or 0)
    return start <= (call.line, call.column) and (call.end_line, call.end_column) <= end


@cache
def text_at(call: Place) -> str:
    """What stands at a place."""
    lines = Path(call.file).read_bytes().splitlines(keepends=True)[call.line - 1 : call.end_line]
    lines[-1] = lines[-1][: call.end_column]
    lines[0] = lines[0][call.column :]
    return b"".join(lines).decode("utf-8").replace("\r\n", "\n")
