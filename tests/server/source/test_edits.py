from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.exceptions import EditConflict, EditRefused
from gradtracer_server.source.edits import TextEdit, apply_edits, unified_diff, verify
from gradtracer_server.source.index import Position, Range


def edit(line: int, column: int, end_column: int, new_text: str) -> TextEdit:
    return TextEdit(Range(Position(line, column), Position(line, end_column)), new_text)


def test_edits_are_made_to_the_text_as_it_was() -> None:
    edits = [edit(1, 0, 1, "BB"), edit(0, 0, 1, ""), edit(0, 2, 2, "!")]
    assert apply_edits("abc\nd", edits) == "b!c\nBB"


def test_insertions_at_one_place_are_no_conflict() -> None:
    assert sorted(apply_edits("ac", [edit(0, 1, 1, "b"), edit(0, 1, 1, "b")])) == list("abbc")


def test_overlapping_edits_are_refused() -> None:
    with pytest.raises(EditConflict, match="do not overlap"):
        apply_edits("abcd", [edit(0, 0, 3, "x"), edit(0, 2, 4, "y")])


def test_an_edit_that_breaks_the_syntax_is_refused() -> None:
    with pytest.raises(EditRefused, match="at most 0 syntax errors"):
        verify("x = f(1)\n", "x = f(1\n")


def test_an_edit_of_a_broken_text_may_leave_it_as_broken_as_it_was() -> None:
    verify("def (:\nx = 1\n", "def (:\nx = 2\n")
    verify("x = (\n", "x = 1\n")


def test_no_difference_is_an_empty_diff() -> None:
    assert unified_diff("a.py", "x\n", "x\n") == ""


def test_a_diff_names_the_lines_of_the_whole_file() -> None:
    before = "".join(f"line {n}\n" for n in range(1, 101))
    diff = unified_diff(Path("/src/a.py"), before, before.replace("line 50\n", "changed\n"))
    assert diff.splitlines()[:3] == ["--- a/src/a.py", "+++ b/src/a.py", "@@ -47,7 +47,7 @@"]
    assert [line for line in diff.splitlines()[3:] if line[0] in "+-"] == ["-line 50", "+changed"]


LINES = st.lists(
    st.sampled_from(["a\n", "b\n", "c\r\n", "\n", "d\x0ce\n", "f\u2028g\n", "é\n"]), max_size=12
).map("".join)
TAILS = st.sampled_from(["", "end", "\n"])


@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the diff")
@given(LINES, LINES, LINES, LINES, TAILS, TAILS)
def test_git_applies_the_diff(
    tmp_path_factory: pytest.TempPathFactory,
    head: str,
    old: str,
    new: str,
    tail: str,
    old_end: str,
    new_end: str,
) -> None:
    before, after = head + old + tail + old_end, head + new + tail + new_end
    if before == after or not before:
        return
    folder = tmp_path_factory.mktemp("diff")
    (folder / "a.py").write_bytes(before.encode())
    diff = unified_diff("a.py", before, after)
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    subprocess.run(command, cwd=folder, input=diff.encode(), check=True, capture_output=True)
    assert (folder / "a.py").read_bytes() == after.encode() if after else True
