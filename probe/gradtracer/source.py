"""Statements of the user's source, as the running interpreter knows them."""

from __future__ import annotations

import ast
import hashlib
import linecache
import sys
import time
from bisect import bisect_right
from functools import cached_property, lru_cache
from pathlib import Path
from types import CodeType

from gradtracer.cells import digest_of
from gradtracer_schemas import SourceFrame

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_STARTED = time.time()


class ParsedFile:
    """A file's lines and syntax tree."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.file = file
        self.lines = lines
        try:
            self.tree: ast.Module | None = ast.parse("".join(lines))
        except (SyntaxError, ValueError, RecursionError):
            self.tree = None

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """Every statement, by where it starts."""
        nodes = ast.walk(self.tree) if self.tree is not None else ()
        return sorted((node for node in nodes if isinstance(node, ast.stmt)), key=_start)

    @cached_property
    def cell(self) -> str:
        """What a notebook's cell is known by; empty for a file."""
        return digest_of(self.file, self.lines)

    @cached_property
    def functions(self) -> dict[int, list[Function]]:
        """Functions and lambdas by what their code objects have as first line."""
        found: dict[int, list[Function]] = {}
        for node in ast.walk(self.tree) if self.tree is not None else ():
            if isinstance(node, Function):
                decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
                first = min([node.lineno, *(each.lineno for each in decorators)])
                found.setdefault(first, []).append(node)
        return found

    def holds(self, code: CodeType) -> bool:
        """Whether a function, class or module of the text compiles to this code."""
        return code in self._codes

    @cached_property
    def _codes(self) -> set[CodeType]:
        if self.tree is None:
            return set()
        found: set[CodeType] = set()
        pending = [compile("".join(self.lines), self.file, "exec", dont_inherit=True)]
        while pending:
            code = pending.pop()
            found.add(code)
            pending.extend(each for each in code.co_consts if isinstance(each, CodeType))
        return found

    def statement_around(
        self, start: int, column: int | None, end: int, end_column: int | None
    ) -> ast.stmt | None:
        """The innermost statement around a range; by lines alone where columns are not known."""
        place = (start, sys.maxsize if column is None else column)
        last = (end, 0 if end_column is None else end_column)
        for index in range(bisect_right(self.statements, place, key=_start) - 1, -1, -1):
            node = self.statements[index]
            if (node.end_lineno or node.lineno, node.end_col_offset or 0) >= last:
                return node
        return None

    def frame(self, node: ast.stmt, qualname: str, expression: str = "") -> SourceFrame:
        """A statement, and the call in it that built something."""
        end_line, end_byte = node.end_lineno or node.lineno, node.end_col_offset or 0
        body: list[ast.stmt] = getattr(node, "body", [])
        if body:
            # Of a compound statement only the header defines anything here.
            end_line = max(node.lineno, min(body[0].lineno - 1, end_line))
            end_byte = len(self.lines[end_line - 1].rstrip("\r\n").encode())
        text = self.text(node.lineno, node.col_offset, end_line, end_byte)
        return SourceFrame(
            file=self.file,
            start_line=node.lineno,
            start_column=self._characters(node.lineno, node.col_offset),
            end_line=end_line,
            end_column=self._characters(end_line, end_byte),
            qualname=qualname,
            text=text,
            digest=hashlib.sha256(text.encode()).hexdigest()[:16],
            expression="" if expression == text else expression,
            cell=self.cell,
        )

    def call_frame(self, call: ast.expr, qualname: str) -> SourceFrame | None:
        """The statement around an expression of this file."""
        end, end_column = call.end_lineno or call.lineno, call.end_col_offset or 0
        statement = self.statement_around(call.lineno, call.col_offset, end, end_column)
        if statement is None:
            return None
        text = self.text(call.lineno, call.col_offset, end, end_column)
        return self.frame(statement, qualname, text)

    def text(self, start: int, column: int, end: int, end_column: int) -> str:
        """What stands in a range; columns count bytes."""
        if end > len(self.lines):
            return ""
        if start == end:
            return self.lines[start - 1].encode()[column:end_column].decode(errors="replace")
        first = self.lines[start - 1].encode()[column:].decode(errors="replace")
        last = self.lines[end - 1].encode()[:end_column].decode(errors="replace")
        return "".join([first, *self.lines[start : end - 1], last])

    def _characters(self, line: int, byte: int) -> int:
        return len(self.lines[line - 1].encode()[:byte].decode(errors="replace"))


def parsed_file(file: str) -> ParsedFile | None:
    """A file by the name that its code objects have; None when there is no source."""
    if not file.startswith("<"):
        file = str(Path(file).absolute())
    # A module that was edited and loaded again has new code: its text must be the new one.
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    return _parse(file, tuple(lines)) if lines else None


@lru_cache(maxsize=256)
def _parse(file: str, lines: tuple[str, ...]) -> ParsedFile:
    return ParsedFile(file, list(lines))


def source_frame(code: CodeType, instruction: int, line: int) -> SourceFrame | None:
    """The statement that an instruction belongs to; None for code without a file."""
    # Equal code of two files compares equal.
    return _source_frame(code.co_filename, code, instruction, line)


@lru_cache(maxsize=65536)
def _source_frame(file: str, code: CodeType, instruction: int, line: int) -> SourceFrame | None:
    parsed = parsed_file(file)
    qualname = code.co_qualname
    if parsed is None:
        return None if file.startswith("<") else _bare(file, line, qualname)
    if _edited_since(file) and not parsed.holds(code):
        # The text is no longer what was compiled: any line of it might be another's.
        return None
    start, end, column, end_column = _position(code, instruction, line)
    statement = parsed.statement_around(start, column, end, end_column)
    if statement is None:
        return _bare(parsed.file, line, qualname)
    expression = ""
    if column is not None and end_column is not None:
        expression = parsed.text(start, column, end, end_column)
    return parsed.frame(statement, qualname, expression)


def function_source(code: CodeType) -> tuple[ParsedFile, Function] | None:
    """The definition that a function's code was compiled from."""
    parsed = parsed_file(code.co_filename)
    if parsed is None:
        return None
    for node in parsed.functions.get(code.co_firstlineno, ()):
        if code.co_name == ("<lambda>" if isinstance(node, ast.Lambda) else node.name):
            return parsed, node
    return None


def _edited_since(file: str) -> bool:
    try:
        return Path(file).stat().st_mtime >= _STARTED
    except OSError:
        return False


def _position(
    code: CodeType, instruction: int, line: int
) -> tuple[int, int, int | None, int | None]:
    positions = list(code.co_positions())
    index = instruction // 2
    if 0 <= index < len(positions):
        start, end, column, end_column = positions[index]
        if start is not None and end is not None:
            return start, end, column, end_column
    return line, line, None, None


def _start(node: ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _bare(file: str, line: int, qualname: str) -> SourceFrame:
    return SourceFrame(
        file=str(Path(file).absolute()),
        start_line=line,
        start_column=0,
        end_line=line,
        end_column=0,
        qualname=qualname,
    )
