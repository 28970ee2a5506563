from __future__ import annotations

from pathlib import Path

import pytest
from fix_bench import Bench

from gradtracer_schemas import SourceFrame
from gradtracer_server.source.anchors import resolve
from gradtracer_server.source.index import SourceText
from gradtracer_server.source.suppressions import suppressed

MARK = "# gradtracer: ignore[DEAD_EMBEDDINGS]"


def at(path: Path, line: int) -> SourceFrame:
    return SourceFrame(
        file=str(path),
        start_line=line,
        start_column=0,
        end_line=line,
        end_column=0,
        qualname="<module>",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("e = E(1)\n", f"e = E(1)  {MARK}\n"),
        ("e = E(1)", f"e = E(1)  {MARK}"),
        ("e = E(1)\r\nx\r\n", f"e = E(1)  {MARK}\r\nx\r\n"),
        ("e = E(1)  # noqa\n", f"e = E(1)  # noqa  {MARK}\n"),
        ("e = E(1)   \n", f"e = E(1)   {MARK}\n"),
        ("e = E(1) \n", f"e = E(1)  {MARK}\n"),
        ("e = E(\n    1,\n)\n", f"e = E(\n    1,\n)  {MARK}\n"),
        ('e = E("""\n""")\n', f'e = E("""\n""")  {MARK}\n'),
        ('e = """\n""".x(1)\n', f'e = """\n""".x(1)  {MARK}\n'),
        (
            "e = E(1)  # gradtracer: ignore[A]\n",
            "e = E(1)  # gradtracer: ignore[A, DEAD_EMBEDDINGS]\n",
        ),
        ("e = E(1)  # gradtracer: ignore[]\n", "e = E(1)  # gradtracer: ignore[DEAD_EMBEDDINGS]\n"),
        (
            "e = E(1)  # gradtracer: ignore[A, ] why\n",
            "e = E(1)  # gradtracer: ignore[A, DEAD_EMBEDDINGS, ] why\n",
        ),
        (
            "e = E(  # gradtracer: ignore[A]\n1)  # b\n",
            "e = E(  # gradtracer: ignore[A, DEAD_EMBEDDINGS]\n1)  # b\n",
        ),
        ("for e in E(1):\n    pass\n", f"for e in E(1):  {MARK}\n    pass\n"),
        ("é = '𝒙'; e = E(1)\n", f"é = '𝒙'; e = E(1)  {MARK}\n"),
        # Nothing may follow a backslash, and inside a string there are no comments.
        ("e = E(\n1); \\\nx = 2\n", f"e = E(  {MARK}\n1); \\\nx = 2\n"),
        ('e = E(\n1); x = """\n"""\n', f'e = E(  {MARK}\n1); x = """\n"""\n'),
    ],
)
def test_the_type_is_named_on_the_statement(bench: Bench, before: str, after: str) -> None:
    path = bench.write("a.py", before)
    fix = bench.one("suppress", site=[at(path, 1)])
    assert bench.make(fix) == {"a.py": after}
    source = SourceText.parse(after)
    assert suppressed(source, resolve(at(path, 1), source), "DEAD_EMBEDDINGS")
    assert fix.title.startswith("Ignore DEAD_EMBEDDINGS on line ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"e = E(1)  {MARK}\n", "already ignores DEAD_EMBEDDINGS"),
        ("e = E(1)  # gradtracer: ignore\n", "already ignores DEAD_EMBEDDINGS"),
        ("e = E(1); \\\nx = 2\n", "no comment can stand"),
        ('e = E(1); x = """\n"""\n', "no comment can stand"),
        ("\n", "not in the workspace any more"),
    ],
)
def test_where_no_comment_helps_it_says_why(bench: Bench, text: str, reason: str) -> None:
    path = bench.write("a.py", text)
    fix = bench.one("suppress", site=[at(path, 1)])
    assert fix.disabled_reason is not None and reason in fix.disabled_reason
    assert fix.edits() == {}


def test_a_site_outside_the_workspace_is_not_touched(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "library.py"
    outside.write_text("e = E(1)\n", encoding="utf-8")
    fix = bench.one("suppress", site=[at(outside, 1)])
    assert fix.disabled_reason is not None
