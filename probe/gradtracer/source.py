"""Statements of the user's source, as the running interpreter knows them."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import NamedTuple

from gradtracer_schemas import SourceFrame


class _Parsed(NamedTuple):
    lines: list[str]
    statements: list[ast.stmt]


@lru_cache(maxsize=256)
def _parse(file: str) -> _Parsed | None:
    lines = linecache.getlines(file)
    if not lines:
        return None
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return _Parsed(lines, [])
    return _Parsed(lines, [node for node in ast.walk(tree) if isinstance(node, ast.stmt)])


def source_frame(code: CodeType, instruction: int, line: int) -> SourceFrame | None:
    """The statement that an instruction belongs to; None for code without a file."""
    file = code.co_filename
    if file.startswith("<"):
        if not linecache.getlines(file):
            return None
    else:
        file = str(Path(file).absolute())
    parsed = _parse(file)
    qualname = code.co_qualname
    if parsed is None:
        return _bare(file, line, qualname)
    start, end, column, end_column = _position(code, instruction, line)
    statement = _enclosing(parsed.statements, start, column, end, end_column)
    if statement is None:
        return _bare(file, line, qualname)
    expression = ""
    if column is not None and end_column is not None:
        expression = _text(parsed.lines, start, column, end, end_column)
    return _frame(file, parsed.lines, statement, qualname, expression)


def class_attribute_frame(cls: type, name: str) -> SourceFrame | None:
    """The statement `self.<name> = ...` (or `<name> = ...`) in the class's own source."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == "torch":
            return None
        found = _assignment_in(base, name)
        if found is not None:
            return found
    return None


def _assignment_in(cls: type, name: str) -> SourceFrame | None:
    # The constructor first: a module set anew by another method was built there all the same.
    functions = [value for value in vars(cls).values() if inspect.isfunction(value)]
    functions.sort(key=lambda function: function.__name__ != "__init__")
    for function in functions:
        code = inspect.unwrap(function).__code__
        file = str(Path(code.co_filename).absolute())
        parsed = _parse(file)
        if parsed is None:
            continue
        body = _definition(parsed.statements, code.co_firstlineno)
        for node in ast.walk(body) if body is not None else ():
            if isinstance(node, ast.Assign | ast.AnnAssign) and _binds(node, name):
                expression = ""
                if node.value is not None:
                    expression = ast.get_source_segment("".join(parsed.lines), node.value) or ""
                return _frame(file, parsed.lines, node, code.co_qualname, expression)
    return None


def _definition(statements: list[ast.stmt], line: int) -> ast.stmt | None:
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [decorator.lineno for decorator in node.decorator_list]
            if min([node.lineno, *decorators]) == line:
                return node
    return None


def _binds(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(
        (isinstance(t, ast.Attribute) and t.attr == name)
        or (isinstance(t, ast.Name) and t.id == name)
        for t in targets
    )


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


def _enclosing(
    statements: list[ast.stmt], start: int, column: int | None, end: int, end_column: int | None
) -> ast.stmt | None:
    """The innermost statement around a range; by lines alone where columns are not known."""
    around = [
        node
        for node in statements
        if (node.lineno, node.col_offset) <= (start, sys.maxsize if column is None else column)
        and (node.end_lineno or node.lineno, node.end_col_offset or 0)
        >= (end, 0 if end_column is None else end_column)
    ]
    return max(around, key=lambda node: (node.lineno, node.col_offset), default=None)


def _frame(
    file: str, lines: list[str], node: ast.stmt, qualname: str, expression: str
) -> SourceFrame:
    end_line, end_byte = node.end_lineno or node.lineno, node.end_col_offset or 0
    body: list[ast.stmt] = getattr(node, "body", [])
    if body:
        # Of a compound statement only the header defines anything here.
        end_line = max(node.lineno, min(body[0].lineno - 1, end_line))
        end_byte = len(lines[end_line - 1].rstrip("\r\n").encode())
    text = _text(lines, node.lineno, node.col_offset, end_line, end_byte)
    return SourceFrame(
        file=file,
        start_line=node.lineno,
        start_column=_characters(lines, node.lineno, node.col_offset),
        end_line=end_line,
        end_column=_characters(lines, end_line, end_byte),
        qualname=qualname,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
        expression="" if expression == text else expression,
    )


def _bare(file: str, line: int, qualname: str) -> SourceFrame:
    return SourceFrame(
        file=file, start_line=line, start_column=0, end_line=line, end_column=0, qualname=qualname
    )


def _characters(lines: list[str], line: int, byte: int) -> int:
    return len(lines[line - 1].encode()[:byte].decode(errors="replace"))


def _text(lines: list[str], start: int, column: int, end: int, end_column: int) -> str:
    if end > len(lines):
        return ""
    if start == end:
        return lines[start - 1].encode()[column:end_column].decode(errors="replace")
    first = lines[start - 1].encode()[column:].decode(errors="replace")
    last = lines[end - 1].encode()[:end_column].decode(errors="replace")
    return "".join([first, *lines[start : end - 1], last])
