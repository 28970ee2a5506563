"""Notebook cells: which one a recorded statement was run in, and what it is read as."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_factory import RunFactory

from gradtracer_schemas import SourceFrame, SourceSite, cell_digest
from gradtracer_server.findings import FrameAnchor, resolve_site
from gradtracer_server.runbook import RunBook
from gradtracer_server.source.cells import without_magics
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.workspace import Workspace

RAW = "%matplotlib inline\nimport torch\n!ls\nfiles = !ls\n\ntable = Embedding(10, 4)\ntorch?\n"
AS_RUN = (
    "get_ipython().run_line_magic('matplotlib', 'inline')\nimport torch\n"
    "get_ipython().system('ls')\nfiles = get_ipython().getoutput('ls')\n\n"
    "table = Embedding(10, 4)\nget_ipython().run_line_magic('pinfo', 'torch')\n"
)
STATEMENT = "table = Embedding(10, 4)"
FIRST, SECOND = Path("/study/a.ipynb#one"), Path("/study/a.ipynb#two")


def frame(cell: str, line: int = 1) -> SourceFrame:
    return SourceFrame(
        file="/tmp/ipykernel_7/12345.py",
        start_line=line,
        start_column=0,
        end_line=line,
        end_column=len(STATEMENT),
        qualname="<module>",
        text=STATEMENT,
        cell=cell_digest(cell),
    )


def placed(project: RunFactory, documents: Documents, recorded: SourceFrame) -> FrameAnchor | None:
    project.finished()
    book = RunBook([project.root])
    book.refresh()
    site = SourceSite(frames=[recorded])
    found = resolve_site(site, book.runs[0], documents, Workspace([project.root]))
    return found[0] if found else None


def test_a_cell_has_one_digest_as_it_is_written_and_as_it_is_run() -> None:
    assert cell_digest(RAW) == cell_digest(AS_RUN)
    assert cell_digest(RAW) == cell_digest(RAW.replace("\n", "\r\n") + "\n\n")
    assert cell_digest(RAW) != cell_digest(RAW.replace("10", "11"))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("%time\nx = 1\n", "#time\nx = 1\n"),
        ("%%capture out\nx = 1\n", "#%capture out\nx = 1\n"),
        ("if a:\n    !ls {b}\n    x = 1\n", "if a:\n    #ls {b}\n    x = 1\n"),
        ("x = (a\n     % b)\n", "x = (a\n     % b)\n"),
        ("x = 5 % 3\n", "x = 5 % 3\n"),
    ],
)
def test_only_lines_of_ipython_are_read_as_comments(text: str, read: str) -> None:
    assert without_magics(text) == read


def test_statement_stands_in_the_cell_that_was_run_and_not_in_its_double(
    project: RunFactory,
) -> None:
    documents = Documents()
    documents.open_cell(FIRST, f"{STATEMENT}\n", 1)
    documents.open_cell(SECOND, f"x = 1\n{STATEMENT}\n", 1)
    found = placed(project, documents, frame(f"x = 1\n{STATEMENT}", line=2))
    assert found is not None
    assert (found.path, found.anchor.state) == (SECOND, "exact")


def test_cell_that_was_edited_since_is_known_by_what_it_was(project: RunFactory) -> None:
    documents = Documents()
    documents.open_cell(FIRST, f"{STATEMENT}\n", 1)
    documents.open_cell(SECOND, "%time\n" + STATEMENT + "\ny = 2\n", 1)
    where = Range(Position(1, len(STATEMENT) - 2), Position(1, len(STATEMENT) - 1))
    documents.apply(SECOND, [(where, "8")], 2)
    found = placed(project, documents, frame(f"get_ipython().x()\n{STATEMENT}\ny = 2", line=2))
    assert found is not None
    assert (found.path, found.anchor.state) == (SECOND, "outdated")
    assert found.source.lines[1] == "table = Embedding(10, 8)"


def test_cell_that_nobody_saw_run_is_known_by_its_statement_where_one_alone_has_it(
    project: RunFactory,
) -> None:
    documents = Documents()
    documents.open_cell(FIRST, "x = 1\n", 1)
    documents.open_cell(SECOND, f"y = 2\n{STATEMENT}\n", 1)
    found = placed(project, documents, frame(STATEMENT))
    assert found is not None
    assert (found.path, found.anchor.state) == (SECOND, "moved")
    documents.open_cell(FIRST, f"x = 1\n{STATEMENT}\n", 2)
    assert placed(project, documents, frame(STATEMENT)) is None


def test_statement_of_a_notebook_that_is_not_open_is_nowhere(project: RunFactory) -> None:
    documents = Documents()
    assert placed(project, documents, frame(STATEMENT)) is None
    documents.open_cell(FIRST, f"{STATEMENT}\n", 1)
    assert placed(project, documents, frame(STATEMENT)) is not None
    documents.close(FIRST)
    assert placed(project, documents, frame(STATEMENT)) is None
