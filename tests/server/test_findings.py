"""Findings: what runs found, joined with the text as it is now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from run_factory import WATCH_STATEMENT, RunFactory, statement_of

from gradtracer_schemas import Diagnosis, SourceFrame, SourceSite
from gradtracer_server.findings import Finding, find
from gradtracer_server.runbook import RunBook
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.position import Position, Range
from gradtracer_server.source.workspace import Workspace

DEFINITION = statement_of("item_emb")


def findings(
    project: RunFactory, *, documents: Documents | None = None, root: Path | None = None
) -> list[Finding]:
    root = root or project.root
    book = RunBook([root])
    book.refresh()
    return find(book.runs, documents or Documents(), Workspace([root]))


def edit(project: RunFactory, old: str, new: str) -> None:
    text = project.script.read_text(encoding="utf-8")
    assert old in text
    project.script.write_text(text.replace(old, new), encoding="utf-8")


def test_finding_stands_on_the_constructor_of_its_layer(project: RunFactory) -> None:
    project.finished()
    (finding,) = findings(project)
    assert finding.state == "current"
    assert finding.path == project.script
    assert finding.anchor is not None
    assert finding.anchor.focus == Range(Position(9, 24), Position(9, 46))
    assert [frame.frame.text for frame in finding.frames] == [DEFINITION, "model = MF()"]


def test_finding_follows_its_line_when_text_above_grows(project: RunFactory) -> None:
    project.finished()
    edit(project, "import torch\n", "import torch\nimport os\nimport sys\n")
    (finding,) = findings(project)
    assert finding.state == "current"
    assert finding.anchor is not None
    assert finding.anchor.state == "moved"
    assert finding.anchor.range is not None
    assert finding.anchor.range.start.line == 11


def test_findings_of_a_run_share_what_was_found_of_the_lines_they_name(project: RunFactory) -> None:
    project.finished()
    book = RunBook([project.root])
    book.refresh()
    (run,) = book.runs
    (known,) = run.diagnoses.values()
    other = msgspec.structs.replace(known, id="another", layer="user_emb")
    run.diagnoses[other.id] = msgspec.json.decode(msgspec.json.encode(other), type=Diagnosis)
    first, second = find([run], Documents(), Workspace([project.root]))
    assert first.diagnosis.site is not second.diagnosis.site
    assert first.frames[0] is second.frames[0]


def test_edited_definition_makes_the_finding_outdated(project: RunFactory) -> None:
    project.finished()
    edit(project, DEFINITION, "self.item_emb = nn.Embedding(1000, 24)")
    assert [finding.state for finding in findings(project)] == ["outdated"]


@pytest.mark.parametrize(
    "now",
    [
        WATCH_STATEMENT.replace(")", ", total_steps=5000)"),
        WATCH_STATEMENT.replace("run = ", "tracker = "),
        WATCH_STATEMENT.replace(")", ", auto_fix=False)"),
        f"if model is not None:\n    {WATCH_STATEMENT}",
        f"\n\n\n{WATCH_STATEMENT}",
        "",
    ],
    ids=["argument", "renamed", "off", "indented", "moved", "deleted"],
)
def test_edit_of_the_watch_call_that_no_fix_would_make_keeps_the_findings(
    project: RunFactory, now: str
) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    edit(project, WATCH_STATEMENT, now)
    assert [finding.state for finding in findings(project)] == ["current", "current"]


def test_auto_fix_turned_on_makes_the_findings_that_offered_it_outdated(
    project: RunFactory,
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    run.diagnose("POPULARITY_BIAS", "item_emb", fixes=[])
    edit(project, WATCH_STATEMENT, WATCH_STATEMENT.replace(")", ", auto_fix=True)"))
    states = {finding.diagnosis.type: finding.state for finding in findings(project)}
    assert states == {"ZOMBIE_EMBEDDINGS": "outdated", "POPULARITY_BIAS": "current"}


def test_reformatted_definition_keeps_the_finding(project: RunFactory) -> None:
    project.finished()
    edit(project, DEFINITION, "self.item_emb = nn.Embedding(\n    1000,\n    64,\n)")
    assert [finding.state for finding in findings(project)] == ["current"]


def test_deleted_definition_leaves_the_finding_without_a_place(project: RunFactory) -> None:
    project.finished()
    edit(project, DEFINITION, "pass")
    (finding,) = findings(project)
    assert finding.state == "gone"
    assert finding.anchor is not None
    assert finding.anchor.range is None


def test_renamed_definition_has_the_outdated_finding_under_its_new_name(
    project: RunFactory,
) -> None:
    project.finished()
    edit(project, DEFINITION, "self.films = nn.Embedding(1000, 64)")
    (finding,) = findings(project)
    assert finding.state == "outdated"
    assert finding.anchor is not None
    assert finding.anchor.range == Range(Position(9, 8), Position(9, 43))


@pytest.mark.parametrize(
    "now",
    [
        "",
        "self.films = nn.Embedding(1000, 32)",
        "self.a = nn.Embedding(1000, 64)\n        self.b = nn.Embedding(1000, 64)",
        "films = nn.Linear(1000, 64)",
    ],
    ids=["another layer's is left", "another value", "two new names", "another class"],
)
def test_rename_that_is_not_certain_is_not_followed(project: RunFactory, now: str) -> None:
    project.finished()
    edit(project, DEFINITION, now)
    assert [finding.state for finding in findings(project)] == ["gone"]


def test_comment_suppresses_the_finding(project: RunFactory) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    edit(project, DEFINITION, f"{DEFINITION}  # gradtracer: ignore[ZOMBIE_EMBEDDINGS]")
    states = {finding.diagnosis.type: finding.state for finding in findings(project)}
    assert states == {"ZOMBIE_EMBEDDINGS": "suppressed", "POPULARITY_BIAS": "current"}


def test_open_buffer_counts_before_the_disk(project: RunFactory) -> None:
    project.finished()
    documents = Documents()
    documents.open(project.script, project.script.read_text(encoding="utf-8"), 1)
    edit(project, DEFINITION, "pass")
    assert [finding.state for finding in findings(project, documents=documents)] == ["current"]


def test_site_outside_the_workspace_is_never_read(project: RunFactory, tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text(project.script.read_text(encoding="utf-8"), encoding="utf-8")
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    frame = project.layer_site("item_emb").frames[0]
    files = {"item_emb": str(secret), "user_emb": f"{project.root}/../secret.py"}
    for layer, file in files.items():
        site = SourceSite(frames=[msgspec.structs.replace(frame, file=file)])
        run.diagnose("ZOMBIE_EMBEDDINGS", layer, site=site)
    found = findings(project)
    assert [finding.state for finding in found] == ["outside", "outside"]
    assert all(finding.path is None and finding.anchor is None for finding in found)


def test_first_frame_inside_the_workspace_is_shown(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    library = SourceFrame(
        file="/usr/lib/python3/site-packages/models.py",
        start_line=10,
        start_column=4,
        end_line=10,
        end_column=20,
        qualname="Tower.__init__",
        text="self.emb = Embedding()",
    )
    inside = project.layer_site("item_emb").frames[1]
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", site=SourceSite(frames=[library, inside]))
    (finding,) = findings(project)
    assert finding.path == project.script
    assert finding.frames[0].frame == inside


def test_moved_project_is_found_where_it_is_now(project: RunFactory, tmp_path: Path) -> None:
    project.finished()
    moved = project.root.rename(tmp_path / "moved")
    (finding,) = findings(project, root=moved)
    assert finding.state == "current"
    assert finding.path == moved / "train.py"


def test_disabled_types_are_left_out(project: RunFactory) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    book = RunBook([project.root])
    book.refresh()
    found = find(book.runs, Documents(), Workspace([project.root]), ["POPULARITY_BIAS"])
    assert [finding.diagnosis.type for finding in found] == ["ZOMBIE_EMBEDDINGS"]


def test_line_that_two_scripts_train_has_the_newer_runs_finding(project: RunFactory) -> None:
    project.finished()
    newer = project.start(script=str(project.root / "other.py"))
    newer.watch_layers()
    newer.observe("item_emb")
    newer.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    (finding,) = findings(project)
    assert finding.run.id == newer.id


def test_findings_load_no_editor_stack_and_no_socket_library() -> None:
    assert _loaded("import gradtracer_server.findings") == set()


def test_the_check_of_loaded_modules_can_fail() -> None:
    assert _loaded("import gradtracer_server.findings, pygls") == {"pygls"}


def _loaded(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    return {"pygls", "lsprotocol", "zmq", "numpy", "torch", "rich"} & set(output.split())
