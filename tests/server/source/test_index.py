from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradtracer_server.source.index import Position, Range, SourceText

MODEL = '''\
import torch.nn as nn


class Model(nn.Module):
    """Doc é 𝒙."""

    def __init__(self, n, dim=64):
        super().__init__()
        self.user_emb = nn.Embedding(n, dim)  # café
        self.item_emb = nn.Embedding(
            n,
            dim,
        )
        for i in range(3):
            self.add_module(f"x{i}", nn.Linear(dim, dim))

    def forward(self, x):
        if x > 1:
            return """a
b"""
        return [y for y in x]


def build():
    class Inner:
        size = 3

        def go(self): return 1; pass

    def inner():
        return nn.Embedding(1, 2)

    return inner
'''

FRAGMENTS = st.sampled_from(
    [
        *["", "a", "\n", "    ", "\t", "(", ")", '"', '"""', "#", "\\\n", "\r\n", "\r", ":", ","],
        *["é", "𝒙", "\ufeff", "\ud83d", "def f():\n    pass\n", "        x = f(1, 2)\n"],
    ]
)
LINES, COLUMNS = st.integers(0, 40), st.integers(0, 50)
EDITS = st.lists(
    st.tuples(LINES, COLUMNS, st.integers(0, 3), st.integers(0, 9), FRAGMENTS), max_size=12
)


def outline(source: SourceText) -> list[tuple[object, ...]]:
    return [(each.span, each.scope, each.kind, each.key) for each in source.statements]


@given(EDITS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_an_edited_text_is_as_one_parsed_anew(
    edits: list[tuple[int, int, int, int, str]], line_break: str, look_between: bool
) -> None:
    source = SourceText.parse(MODEL.replace("\n", line_break))
    assert not source.broken
    for line, column, lines_more, columns_more, new_text in edits:
        start = Position(line, column)
        end = Position(line + lines_more, columns_more if lines_more else column + columns_more)
        before = source.text
        first, last = source.offset(start), source.offset(end)
        source = source.edit(start, end, new_text)
        assert source.text == before[:first] + new_text + before[last:]
        if look_between:
            assert list(source.statements) is not None
    fresh = SourceText.parse(source.text)
    assert source.lines == fresh.lines
    assert str(source.root) == str(fresh.root)
    assert outline(source) == outline(fresh)


@settings(max_examples=10)
@given(EDITS)
def test_a_large_text_edited_is_as_one_parsed_anew_once_its_syntax_is_whole(
    edits: list[tuple[int, int, int, int, str]],
) -> None:
    text = MODEL * 120
    assert len(text) > 64 * 1024
    source = SourceText.parse(text)
    assert not source.broken
    undo: list[tuple[Position, Position, str]] = []
    for line, column, _, columns_more, new_text in edits:
        start, end = Position(line, column), Position(line, column + columns_more)
        first, last = source.offset(start), source.offset(end)
        replaced = source.text[first:last]
        source = source.edit(start, end, new_text)
        assert source.root.end_byte <= len(source.data)
        after = source.position_at(first + len(new_text))
        undo.append((source.position_at(first), after, replaced))
    for start, end, replaced in reversed(undo):
        source = source.edit(start, end, replaced)
    if source.text == text:
        assert str(source.root) == str(SourceText.parse(text).root)
        assert outline(source) == outline(SourceText.parse(text))


def test_an_edit_leaves_the_older_version_as_it_was() -> None:
    before = SourceText.parse(MODEL)
    known = outline(before)
    after = before.edit(Position(0, 0), Position(3, 0), "")
    assert outline(after) != known
    assert outline(before) == known
    assert before.text == MODEL


def test_scopes_are_named_as_python_names_them() -> None:
    scopes: set[str] = set()

    def collect(code: object) -> None:
        scopes.add(code.co_qualname)  # type: ignore[attr-defined]
        for constant in code.co_consts:  # type: ignore[attr-defined]
            if hasattr(constant, "co_qualname"):
                collect(constant)

    collect(compile(MODEL, "model.py", "exec"))
    scopes.discard("Model.forward.<locals>.<listcomp>")
    assert {each.scope for each in SourceText.parse(MODEL).statements} == scopes


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_a_statement_is_found_by_any_position_in_it(line_break: str) -> None:
    source = SourceText.parse(MODEL.replace("\n", line_break))
    for position in (Position(9, 8), Position(10, 0), Position(12, 8)):
        statement = source.statement_at(position)
        assert statement is not None
        assert source.range_of(statement.span) == Range(Position(9, 8), Position(12, 9))
    assert source.statement_at(Position(5, 0)) is None


def test_the_statements_of_one_line_come_from_the_left() -> None:
    source = SourceText.parse("a = 1; b = 2\nclass C: x = 1\n@d\ndef f(): pass\n")
    texts = [[source.bytes_of(s).decode() for s in source.statements_on(n)] for n in range(5)]
    assert texts == [["a = 1", "b = 2"], ["class C:", "x = 1"], ["@d"], ["def f():", "pass"], []]


def test_statements_do_not_overlap() -> None:
    spans = [statement.span for statement in SourceText.parse(MODEL).statements]
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


def test_columns_count_code_points() -> None:
    source = SourceText.parse("é = '𝒙'; tail = f(x)\n")
    statement = source.statements_on(0)[1]
    assert source.range_of(statement.span) == Range(Position(0, 9), Position(0, 20))


def test_a_byte_order_mark_counts_as_a_character_of_its_line() -> None:
    source = SourceText.parse("\ufeffa = 1\nb = 2\n")
    first, second = source.statements
    assert source.range_of(first.span).start == Position(0, 1)
    assert source.range_of(second.span).start == Position(1, 0)


def test_only_what_python_calls_a_line_break_ends_a_line() -> None:
    lines = ["a\x0cb\u2028c\x85d", "e", "f", ""]
    assert SourceText.parse("a\x0cb\u2028c\x85d\re\r\nf\n").lines == lines


def test_a_place_beyond_the_end_is_the_end() -> None:
    source = SourceText.parse("ab\nc")
    assert source.clamp(Position(0, 99)) == Position(0, 2)
    assert source.clamp(Position(99, 0)) == Position(1, 1)
    assert source.clamp(Position(-1, 5)) == Position(0, 0)
    assert source.edit(Position(9, 9), Position(0, 2), "!").text == "ab!"


def test_what_a_text_remembers_does_not_grow_with_its_edits() -> None:
    source = SourceText.parse("def f():\n    x = 0\n")
    for number in range(10_000):
        source = source.edit(Position(1, 8), Position(1, 99), str(number))
        (found,) = source.statements_on(1)
        source.calls(found)
        source.canonical(found)
    memory = source._memory
    assert max(memory.kept, len(memory.forms), len(memory.calls)) < 5_000


def test_deep_nesting_is_read_without_recursion() -> None:
    deep = "".join(f"{' ' * n}def f{n}():\n" for n in range(300)) + " " * 300
    *_, last = SourceText.parse(f"{deep}x = {'(' * 5000}1{')' * 5000}\n").statements
    assert last.scope.startswith("f0.<locals>.f1.")


def test_a_comment_is_told_from_a_string_that_looks_like_one() -> None:
    source = SourceText.parse('a = "# no"\nb = """\n# no\n"""  # yes\nc = 1 # ja\n')
    found = [source.comment_on(line) for line in range(-1, 7)]
    assert [None if node is None else node.text for node in found] == [
        *[None, None, None, None],
        *[b"# yes", b"# ja", None, None],
    ]
