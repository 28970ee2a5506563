from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.source.documents import MAX_CACHED_FILES, MAX_FILE_BYTES, Documents
from gradtracer_server.source.index import Position, Range, SourceText

PATH = Path("/nowhere/model.py")
MARKED = "".join(f"{'    ' * (n % 3)}<{n:02}> x = {n}\n" for n in range(20)) + "\n\n<20> end"


def at(line: int, column: int, end_line: int | None = None, end_column: int = 0) -> Range:
    start = Position(line, column)
    return Range(start, start if end_line is None else Position(end_line, end_column))


@pytest.fixture
def documents() -> Documents:
    documents = Documents()
    documents.open(PATH, MARKED, 1)
    return documents


EDITS = st.lists(
    st.tuples(
        st.integers(0, 25),
        st.integers(0, 16),
        st.sampled_from([0, 0, 0, 1, 2, 5]),
        st.integers(0, 16),
        st.sampled_from(["", "a", "\n", "\n\n  ", "    ", "\r\n", "\r", "b = 1\nc", "é𝒙\n"]),
    ),
    max_size=25,
)


@given(EDITS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_line_is_followed_through_any_edits(
    edits: list[tuple[int, int, int, int, str]], line_break: str
) -> None:
    documents = Documents()
    text = MARKED.replace("\n", line_break)
    documents.open(PATH, text, 1)
    opened = {m: n for n, line in enumerate(SourceText.parse(text).lines) for m in markers(line)}
    alive = set(opened)
    for line, column, more, end_column, new_text in edits:
        where = at(line, column, line + more, end_column if more else max(column, end_column))
        documents.apply(PATH, [(where, new_text)], 2)
        source = documents.get(PATH)
        assert source is not None
        now = {m: n for n, line in enumerate(source.lines) for m in markers(line)}
        # A cut may join the halves of two markers to a false one.
        alive &= {marker for marker in now if source.text.count(marker) == 1}
        for marker in alive:
            assert documents.current_line(PATH, opened[marker]) == now[marker]


def markers(line: str) -> list[str]:
    return re.findall(r"<\d\d>", line)


def test_a_deleted_line_stays_where_it_stood(documents: Documents) -> None:
    documents.apply(PATH, [(at(3, 0, 6, 0), "")], 2)
    assert [documents.current_line(PATH, n) for n in range(2, 8)] == [2, 3, 3, 3, 3, 4]


def test_changes_of_one_notification_build_on_each_other(documents: Documents) -> None:
    documents.apply(PATH, [(at(0, 0), "a\n"), (at(0, 0), "b\n"), (at(1, 0, 1, 1), "c")], 2)
    source = documents.get(PATH)
    assert source is not None and source.lines[:3] == ["b", "c", "<00> x = 0"]
    assert documents.version(PATH) == 2


@pytest.mark.parametrize("whole", [None, at(0, 0, 99, 0)])
def test_a_text_sent_whole_moves_only_what_moved(documents: Documents, whole: Range | None) -> None:
    changed = MARKED.replace("    <07>", "new\nlines\n    <07>")
    documents.apply(PATH, [(whole, changed)], 2)
    source = documents.get(PATH)
    assert source is not None and source.text == changed
    lines = [documents.current_line(PATH, n) for n in (0, 6, 7, 19)]
    assert lines == [0, 6, 9, 21]


def test_what_follows_the_lines_does_not_grow_with_the_edits(documents: Documents) -> None:
    for number in range(3_000):
        line = number % 20
        documents.apply(PATH, [(at(line, 0), "a\n"), (at(line, 0, line + 1), "")], 2)
    source = documents.get(PATH)
    assert source is not None and source.text == MARKED
    assert [documents.current_line(PATH, n) for n in range(20)] == list(range(20))
    shift = documents._open[PATH].shift
    assert len(shift._lines) == len(shift._columns) == MARKED.count("\n") + 1


def test_a_line_of_a_file_that_is_not_open_is_itself(documents: Documents) -> None:
    other = Path("/nowhere/other.py")
    assert documents.current_line(other, 7) == 7
    assert documents.version(other) is None
    documents.apply(other, [(None, "x")], 3)
    assert documents.get(other) is None


def test_the_open_buffer_takes_the_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("disk = 1\n", encoding="utf-8")
    documents = Documents()
    documents.open(path, "buffer = 1\n", 4)
    assert text(documents, path) == "buffer = 1\n"
    documents.close(path)
    assert text(documents, path) == "disk = 1\n"
    assert documents.version(path) is None


def test_a_buffer_opened_through_a_link_is_found_by_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    documents = Documents()
    documents.open(tmp_path / "link" / "a.py", "x = 1\n", 1)
    assert text(documents, tmp_path / "real" / "a.py") == "x = 1\n"
    documents.apply(tmp_path / "real" / "a.py", [(None, "x = 2\n")], 2)
    assert text(documents, tmp_path / "link" / "a.py") == "x = 2\n"
    documents.close(tmp_path / "link" / "a.py")
    assert documents.get(tmp_path / "real" / "a.py") is None


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"x = 1\r\n")
    documents = Documents()
    first = documents.get(path)
    assert first is not None and first.text == "x = 1\r\n"
    assert documents.get(path) is first
    path.write_bytes(b"y = 22\n")
    assert text(documents, path) == "y = 22\n"
    path.unlink()
    assert documents.get(path) is None


def test_two_writes_at_once_are_both_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    documents = Documents()
    for number in range(100):
        path.write_bytes(b"x = %02d\n" % number)
        assert text(documents, path) == f"x = {number:02}\n"


def test_what_is_no_source_text_is_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.py"
    latin.write_bytes("x = 'é'\n".encode("latin-1"))
    large = tmp_path / "large.py"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    documents = Documents()
    for path in (latin, large, pipe, tmp_path, tmp_path / "missing.py", Path("a\0b")):
        assert documents.get(path) is None


def test_only_so_many_files_are_kept(tmp_path: Path) -> None:
    documents = Documents()
    for number in range(MAX_CACHED_FILES + 10):
        path = tmp_path / f"m{number}.py"
        path.write_text("x = 1\n", encoding="utf-8")
        assert documents.get(path) is not None
    assert len(documents._cached) == MAX_CACHED_FILES


def text(documents: Documents, path: Path) -> str:
    source = documents.get(path)
    assert source is not None
    return source.text
