"""Findings in notebooks: checked and fixed in the file as in an editor, by cell and line."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from run_factory import RunFactory, RunWriter, statement_of

from gradtracer_schemas import FixOffer, SourceFrame, SourceSite, cell_digest
from gradtracer_server.attachment.client import Editor
from gradtracer_server.attachment.wire import EditorFile
from gradtracer_server.fixes.application import changes_of
from gradtracer_server.headless.notebooks import MAX_BYTES, notebooks
from gradtracer_server.headless.survey import survey

from .conftest import Command

CELL = (
    "%time\nclass MF(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    f"        {statement_of('item_emb')}\n"
)
NARROW = [FixOffer(fix="reduce-embedding-dim", parameters={"embedding_dim": 24}, preferred=True)]


def notebook(path: Path, *cells: str, indent: int | None = 1) -> str:
    """Write a notebook as editors do; its content."""
    made = [{"cell_type": "markdown", "metadata": {}, "source": ["# A study"]}]
    made += [
        {
            "cell_type": "code",
            "execution_count": 3,
            "metadata": {},
            "outputs": [{"name": "stdout", "text": text.splitlines(keepends=True)}],
            "source": text.splitlines(keepends=True),
        }
        for text in cells
    ]
    content = json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": 5}, indent=indent) + "\n"
    path.write_text(content, encoding="utf-8")
    return content


def site(cell: str = CELL) -> SourceSite:
    """The table's definition, as a kernel that ran the cell tells it."""
    text = statement_of("item_emb")
    line = next(n for n, each in enumerate(cell.splitlines(), 1) if text in each)
    frame = SourceFrame(
        file="/tmp/ipykernel_7/123.py",
        start_line=line,
        start_column=8,
        end_line=line,
        end_column=8 + len(text),
        qualname="MF.__init__",
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
        expression=text.partition(" = ")[2],
        cell=cell_digest(cell),
    )
    return SourceSite(frames=[frame], attribute="item_emb", origin="constructor")


def collapsed(project: RunFactory) -> RunWriter:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("REPRESENTATION_COLLAPSE", "item_emb", site=site(), fixes=NARROW)
    run.end()
    return run


def test_a_finding_names_cell_and_line(project: RunFactory, command: Command) -> None:
    collapsed(project)
    notebook(project.root / "study.ipynb", "import torch\n", CELL)
    answer = command("check")
    assert answer.status == 1
    assert answer.out.startswith("study.ipynb:cell 3:5:25: REPRESENTATION_COLLAPSE item_emb: ")
    (record,) = json.loads(command("check", "--output-format", "json").out)
    assert (record["path"], record["cell"], record["line"]) == ("study.ipynb", 3, 5)
    assert command("check", "study.ipynb").status == 1
    assert command("check", "train.py").status == 0


def test_pipelines_are_told_the_file_and_no_line_of_it(
    project: RunFactory, command: Command
) -> None:
    collapsed(project)
    notebook(project.root / "study.ipynb", CELL)
    annotation = command("check", "--output-format", "github").out.splitlines()[0]
    title = "REPRESENTATION_COLLAPSE item_emb in study.ipynb%3Acell 2%3A5%3A25"
    assert annotation.startswith(f"::warning file=study.ipynb,title={title}::")
    document = json.loads(command("check", "--output-format", "sarif").out)
    (result,) = document["runs"][0]["results"]
    (location,) = result["locations"]
    assert location["message"] == {"text": "cell 2, line 5"}
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "study.ipynb"
    assert "region" not in location["physicalLocation"]
    assert "fixes" not in result


@pytest.mark.parametrize("indent", [None, 1, 2])
def test_a_fix_writes_its_line_of_the_cell_and_no_other_byte(
    project: RunFactory, command: Command, indent: int | None
) -> None:
    collapsed(project)
    path = project.root / "study.ipynb"
    before = notebook(path, "import torch\n", CELL, indent=indent)
    patch = command("check", "--diff").out
    answer = command("fix", "--unsafe")
    assert answer.status == 0, answer.err
    old, new = '"        self.item_emb = nn.Embedding(1000, 64)\\n"', "nn.Embedding(1000, 24)"
    head, found, tail = before.rpartition(old)
    assert path.read_text() == head + found.replace("nn.Embedding(1000, 64)", new) + tail
    assert patch.startswith("--- a/study.ipynb\n+++ b/study.ipynb\n")
    assert command("check").status == 0, "what was measured was another text"


@pytest.mark.parametrize(("shown", "state"), [(CELL, "applied"), (f"{CELL}x = 1\n", "conflict")])
def test_a_notebook_with_unsaved_cells_in_an_editor_is_left_alone(
    project: RunFactory, shown: str, state: str
) -> None:
    collapsed(project)
    path = project.root / "study.ipynb"
    notebook(path, CELL)
    seen = survey([project.root])
    (finding,) = seen.findings
    changes = changes_of(seen.fixes(finding)[0].edits(), seen.documents)
    cell = path.with_name("study.ipynb#W0s")
    seen.documents.open(cell, shown, 1)
    editor = Editor(EditorFile(pid=1, process_started="", port=1, token=""))
    assert replace(seen, unsaved={cell: editor}).apply(changes).state == state


def test_a_cell_that_was_edited_since_is_known_by_its_statement(
    project: RunFactory, command: Command
) -> None:
    collapsed(project)
    notebook(project.root / "study.ipynb", f"# one more line\n{CELL}")
    assert command("check").out.startswith("study.ipynb:cell 2:6:25: ")


def test_two_notebooks_with_the_same_statement_leave_it_outside(
    project: RunFactory, command: Command
) -> None:
    collapsed(project)
    notebook(project.root / "study.ipynb", f"# one\n{CELL}")
    notebook(project.root / "other.ipynb", f"# two\n{CELL}")
    assert command("check").out.startswith("outside the workspace: ")


def test_files_that_are_no_notebooks_are_passed_over(project: RunFactory) -> None:
    folder = project.root / "below"
    folder.mkdir()
    good = notebook(folder / "good.ipynb", CELL)
    (folder / "latin.ipynb").write_bytes(b'{"cells": "\xe9"}')
    (folder / "link.ipynb").symlink_to(folder / "good.ipynb")
    (folder / "dir.ipynb").mkdir()
    with (folder / "large.ipynb").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert list(notebooks([project.root])) == [(folder / "good.ipynb", good)]


def test_without_findings_in_cells_no_notebook_is_read(
    project: RunFactory, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("gradtracer_server.headless.survey.notebooks", asked.append)
    project.finished()
    assert command("check").status == 1
    assert asked == []
