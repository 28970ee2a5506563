from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_schemas import SourceFrame
from gradtracer_server.source.anchors import Anchor, resolve
from gradtracer_server.source.index import Position, SourceText

MODEL = """\
import torch.nn as nn

class Model(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.user_emb = nn.Embedding(n, 64)
        self.item_emb = nn.Embedding(
            n,
            64,  # wide
        )
        self.tables = nn.ModuleList([nn.Embedding(n, 8) for _ in range(3)])

class Other(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.user_emb = nn.Embedding(n, 64)

def build(n):
    return Model(n)

model = build(10)
"""
USER = "self.user_emb = nn.Embedding(n, 64)"
ITEM = "self.item_emb = nn.Embedding(\n            n,\n            64,  # wide\n        )"


def frame(
    text: str, line: int, qualname: str = "Model.__init__", expression: str = ""
) -> SourceFrame:
    return SourceFrame(
        file="/project/model.py",
        start_line=line,
        start_column=8,
        end_line=line,
        end_column=8,
        qualname=qualname,
        text=text,
        expression=expression,
    )


def read(source: SourceText, anchor: Anchor, what: str = "range") -> str:
    where = getattr(anchor, what)
    assert where is not None
    return source.text[source.offset(where.start) : source.offset(where.end)]


def test_a_statement_on_its_recorded_line_is_exact() -> None:
    source = SourceText.parse(MODEL)
    anchor = resolve(frame(ITEM, 7, expression="nn.Embedding(\nn, 64)"), source)
    assert (anchor.state, anchor.qualname) == ("exact", "Model.__init__")
    assert read(source, anchor) == ITEM
    assert read(source, anchor, "focus") == ITEM.partition(" = ")[2]


def test_a_statement_on_another_line_has_moved() -> None:
    source = SourceText.parse("\n\n" + MODEL)
    anchor = resolve(frame(USER, 6), source)
    assert anchor.state == "moved"
    assert anchor.range is not None and anchor.range.start == Position(7, 8)


def test_of_equal_statements_the_one_in_the_same_scope_is_meant() -> None:
    source = SourceText.parse(MODEL)
    ours = resolve(frame(USER, 6), source, near_line=15)
    other = resolve(frame(USER, 16, "Other.__init__"), source, near_line=5)
    assert (ours.range and ours.range.start.line, other.range and other.range.start.line) == (5, 15)


def test_of_equal_statements_in_one_scope_the_nearest_is_meant() -> None:
    source = SourceText.parse("def f():\n" + "    add(nn.Embedding(1, 2))\n" * 5)
    for line in range(1, 6):
        anchor = resolve(frame("add(nn.Embedding(1, 2))", 2, "f"), source, near_line=line)
        assert anchor.range is not None and anchor.range.start.line == line


def test_a_renamed_scope_keeps_its_statements() -> None:
    source = SourceText.parse(MODEL.replace("class Model(", "class Renamed("))
    anchor = resolve(frame(ITEM, 7), source)
    assert (anchor.state, anchor.qualname) == ("exact", "Renamed.__init__")
    # Where the content alone cannot tell, the names must: one that is new is the renamed one's.
    known = {statement.scope for statement in SourceText.parse(MODEL).statements}
    assert resolve(frame(USER, 6), source, 5, known).state == "exact"
    deleted = SourceText.parse(source.text.replace(f"        {USER}\n", "", 1))
    assert resolve(frame(USER, 6), deleted, 5, known).state == "gone"
    assert resolve(frame(USER, 6), source).state == "gone"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (("nn.Embedding(n, 64)", "nn.Embedding(n, 24)"), "outdated"),
        (("self.user_emb = nn", "self.user_emb: nn.Embedding = nn"), "outdated"),
        (("self.user_emb", "self.users"), "gone"),
        (("        self.user_emb = nn.Embedding(n, 64)\n", ""), "gone"),
    ],
)
def test_an_edited_statement_is_outdated_and_a_renamed_one_gone(
    change: tuple[str, str], state: str
) -> None:
    source = SourceText.parse(MODEL.replace(change[0], change[1], 1))
    anchor = resolve(frame(USER, 6, expression="nn.Embedding(n, 64)"), source)
    assert anchor.state == state
    if state == "gone":
        assert (anchor.range, anchor.focus) == (None, None)
    else:
        assert read(source, anchor, "focus").startswith("nn.Embedding(")


def test_an_equal_statement_of_another_class_is_not_mistaken_for_a_deleted_one() -> None:
    source = SourceText.parse(MODEL.replace(f"        {USER}\n", "", 1))
    assert resolve(frame(USER, 6), source).state == "gone"
    inside = MODEL.replace(f"        {USER}\n", f"\n    def build(self, n):\n        {USER}\n", 1)
    anchor = resolve(frame(USER, 6), SourceText.parse(inside))
    assert (anchor.state, anchor.qualname) == ("moved", "Model.build")


def test_a_changed_call_is_known_again_only_where_it_was() -> None:
    two = "run(1)\nrun(2)\n"
    gone = resolve(frame("run(3)", 3, "<module>"), SourceText.parse(two))
    changed = resolve(frame("run(3)", 2, "<module>"), SourceText.parse(two))
    assert (gone.state, changed.state) == ("gone", "outdated")


@pytest.mark.parametrize(
    "qualname",
    [
        "Model.__init__.<locals>.<listcomp>",
        "Model.__init__.<locals>.<genexpr>",
        "Model.__init__.<locals>.<lambda>.<locals>.<listcomp>",
    ],
)
def test_a_comprehension_stands_in_the_scope_of_its_statement(qualname: str) -> None:
    text = "self.tables = nn.ModuleList([nn.Embedding(n, 8) for _ in range(3)])"
    source = SourceText.parse(MODEL)
    anchor = resolve(frame(text, 11, qualname, "nn.Embedding(n, 8)"), source)
    assert (anchor.state, anchor.qualname) == ("exact", "Model.__init__")
    assert read(source, anchor, "focus") == "nn.Embedding(n, 8)"


@pytest.mark.parametrize("scope", ["<listcomp>", "<lambda>"])
def test_a_comprehension_of_the_module_stands_in_the_module(scope: str) -> None:
    source = SourceText.parse("tables = [nn.Embedding(1, 2) for _ in x]\n")
    assert resolve(frame("", 1, scope), source).state == "exact"


@pytest.mark.parametrize(
    ("code", "text", "line", "qualname"),
    [
        ("for t in tables(1):\n    x\n", "for t in tables(1):\n    x", 1, "<module>"),
        ("for t in tables(1):  # c\n    x\n", "for t in tables(1):", 1, "<module>"),
        ("def f():\n    return nn.Embedding(1, 2)\n", "return nn.Embedding(1, 2)", 2, "f"),
        ("@t(nn.Embedding(1, 2))\ndef f(): pass\n", "@t(nn.Embedding(1, 2))", 1, "<module>"),
        ("class A:\n    e = nn.Embedding(1, 2)\n", "e = nn.Embedding(1, 2)", 2, "A"),
        ("if a:\n  x\nelif f(1):\n  y\n", "elif f(1):\n  y", 3, "<module>"),
        ("with f(1) as t: pass\n", "with f(1) as t: pass", 1, "<module>"),
        ("a = 1; b = nn.Embedding(1, 2)\n", "b = nn.Embedding(1, 2)", 1, "<module>"),
    ],
)
def test_every_kind_of_statement_is_found(code: str, text: str, line: int, qualname: str) -> None:
    assert resolve(frame(text, line, qualname), SourceText.parse(code)).state == "exact"


def test_without_its_text_a_frame_is_found_by_line_and_scope() -> None:
    source = SourceText.parse(MODEL)
    assert resolve(frame("", 6), source).state == "exact"
    assert resolve(frame("", 6, "Other.__init__"), source).state == "gone"
    assert resolve(frame("", 8), source).state == "gone"
    assert resolve(frame("", 5), source, near_line=5).state == "moved"


def test_a_formatted_file_keeps_its_anchors(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(MODEL.replace("            n,\n            64,  # wide\n", "n,64"), "utf-8")
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-q", str(path)]
    subprocess.run(command, check=True)
    source = SourceText.parse(path.read_text(encoding="utf-8"))
    assert source.text != MODEL
    assert resolve(frame(ITEM, 7), source).state == "moved"


@pytest.mark.parametrize("line_break", ["\r\n", "\r"])
def test_the_line_breaks_of_the_file_do_not_matter(line_break: str) -> None:
    source = SourceText.parse(MODEL.replace("\n", line_break))
    assert resolve(frame(ITEM, 7), source).state == "exact"


class TestWhileSyntaxIsBroken:
    @pytest.fixture
    def source(self) -> SourceText:
        source = SourceText.parse(MODEL.replace("nn.Embedding(n, 64)", "nn.Embedding(", 1))
        assert source.broken
        return source

    def test_the_statements_after_an_open_bracket_are_still_found(self, source: SourceText) -> None:
        anchor = resolve(frame(ITEM, 7), source)
        assert anchor.state == "exact"
        assert read(source, anchor) == ITEM
        moved = resolve(frame(ITEM, 7), SourceText.parse("\n" + source.text))
        assert moved.state == "moved"

    def test_the_line_being_typed_is_outdated(self, source: SourceText) -> None:
        anchor = resolve(frame(USER, 6), source)
        assert anchor.state == "outdated"
        assert anchor.range is not None and anchor.range.start == Position(5, 8)

    def test_what_is_not_there_is_gone(self, source: SourceText) -> None:
        assert resolve(frame("self.x_emb = nn.Embedding(n, 64)", 6), source).state == "gone"
        assert resolve(frame("self.x_emb = nn.Embedding(n, 64)", 99), source).state == "gone"


INSERTIONS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(["", "# note", "x = 1", "def f(a):\n    return a", "if x:\n    y = {1}"]),
    ),
    max_size=8,
)
RECORDED = [
    (USER, 6, "Model.__init__"),
    (ITEM, 7, "Model.__init__"),
    (USER, 16, "Other.__init__"),
    ("return Model(n)", 19, "build"),
    ("model = build(10)", 21, "<module>"),
]


@given(INSERTIONS)
def test_anchors_outlive_lines_inserted_between_statements(
    insertions: list[tuple[int, str]],
) -> None:
    source = SourceText.parse(MODEL)
    lines = [line for _, line, _ in RECORDED]
    for place, text in insertions:
        starts = sorted({statement.line for statement in source.statements})
        line = starts[place % len(starts)]
        indent = source.lines[line][: len(source.lines[line]) - len(source.lines[line].lstrip())]
        block = "".join(f"{indent}{part}\n" for part in text.split("\n"))
        source = source.edit(Position(line, 0), Position(line, 0), block)
        added = block.count("\n")
        lines = [now + added if now > line else now for now in lines]
    for (text, recorded, qualname), now in zip(RECORDED, lines, strict=True):
        for near in (None, now - 1):
            anchor = resolve(frame(text, recorded, qualname), source, near)
            assert anchor.state == ("exact" if now == recorded else "moved")
            assert anchor.qualname == qualname
            assert anchor.range is not None and anchor.range.start.line == now - 1


@given(st.text(max_size=200), st.text(max_size=60), st.integers(-5, 20), st.text(max_size=10))
def test_any_frame_resolves_to_something(code: str, text: str, line: int, expression: str) -> None:
    anchor = resolve(frame(text, line, "f", expression), SourceText.parse(code), line)
    assert (anchor.range is None) == (anchor.state == "gone")
