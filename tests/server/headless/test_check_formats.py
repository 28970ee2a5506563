"""`gradtracer check --output-format json-lines|sarif|github|markdown`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from run_factory import RunFactory, statement_of

from gradtracer_schemas import SourceSite
from gradtracer_server.source.edits import TextEdit, apply_edits
from gradtracer_server.source.position import Position, Range

from .conftest import Answer, Command
from .sarif_schema import complaints


def sarif_run(answer: Answer) -> dict[str, Any]:
    """The one run of a log that the official schema accepts."""
    log = json.loads(answer.out)
    assert complaints(log) == []
    (run,) = log["runs"]
    return run


def suppress(project: RunFactory, type_: str) -> None:
    text = project.script.read_text(encoding="utf-8")
    statement = statement_of("item_emb")
    project.script.write_text(
        text.replace(statement, f"{statement}  # gradtracer: ignore[{type_}]"), encoding="utf-8"
    )


def test_json_lines_are_the_records_one_a_line(project: RunFactory, command: Command) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    answer = command("check", "--output-format", "json-lines")
    assert answer.status == 1
    records = [json.loads(line) for line in answer.out.splitlines()]
    assert records == json.loads(command("check", "--output-format", "json").out)


def test_json_lines_of_nothing_are_nothing(command: Command) -> None:
    assert command("check", "--output-format", "json-lines").out == ""


def test_sarif_is_valid_and_carries_id_place_and_evidence(
    project: RunFactory, command: Command
) -> None:
    run = project.finished()
    answer = command("check", "--output-format", "sarif")
    assert answer.status == 1
    (result,) = sarif_run(answer)["results"]
    assert result["ruleId"] == "ZOMBIE_EMBEDDINGS"
    assert result["level"] == "warning"
    assert result["properties"]["id"] == f"ZOMBIE_EMBEDDINGS:item_emb@{run.id}"
    assert "n = 1,000" in result["properties"]["evidence"]
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "train.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 10, "startColumn": 25, "endLine": 10, "endColumn": 47},
    }
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "item_emb"
    assert "baselineState" not in result
    assert [each["message"]["text"] for each in result["relatedLocations"]] == [
        "built here",
        "watch",
    ]


def test_sarif_rules_have_the_pages_of_the_catalogue(project: RunFactory, command: Command) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    run = sarif_run(command("check", "--output-format", "sarif"))
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {"ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS"}
    assert all("Looks for" in rule["help"]["markdown"] for rule in rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif_fix_makes_the_edit_of_the_diff(project: RunFactory, command: Command) -> None:
    project.finished()
    (result,) = sarif_run(command("check", "--output-format", "sarif"))["results"]
    change = result["fixes"][0]["artifactChanges"][0]
    text = project.script.read_text(encoding="utf-8")
    edits = [
        TextEdit(
            Range(
                Position(r["startLine"] - 1, r["startColumn"] - 1),
                Position(r["endLine"] - 1, r["endColumn"] - 1),
            ),
            replacement["insertedContent"]["text"],
        )
        for replacement in change["replacements"]
        for r in [replacement["deletedRegion"]]
    ]
    assert "auto_fix=True" in apply_edits(text, edits)
    assert all("Ignore" not in fix["description"]["text"] for fix in result["fixes"])


def test_sarif_marks_what_a_comment_silences(project: RunFactory, command: Command) -> None:
    project.finished()
    suppress(project, "ZOMBIE_EMBEDDINGS")
    answer = command("check", "--output-format", "sarif")
    assert answer.status == 0
    (result,) = sarif_run(answer)["results"]
    assert result["suppressions"] == [{"kind": "inSource"}]


def test_sarif_of_a_finding_outside_has_no_physical_place(
    project: RunFactory, command: Command
) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", site=SourceSite())
    (result,) = sarif_run(command("check", "--output-format", "sarif"))["results"]
    assert "physicalLocation" not in result["locations"][0]


def test_sarif_names_a_file_beside_the_folder_absolutely(
    project: RunFactory, command: Command, monkeypatch: Any
) -> None:
    project.finished()
    inner = project.root / "notebooks"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (result,) = sarif_run(command("check", "--output-format", "sarif"))["results"]
    artifact = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert Path(unquote(artifact["uri"].removeprefix("file://"))) == project.script
    assert "uriBaseId" not in artifact


def test_sarif_of_no_runs_is_a_valid_empty_log(command: Command) -> None:
    answer = command("check", "--output-format", "sarif")
    assert answer.status == 0
    assert sarif_run(answer)["results"] == []


def test_sarif_tells_of_settings_that_could_not_be_used(
    project: RunFactory, command: Command
) -> None:
    project.finished()
    (project.root / "pyproject.toml").write_text("[tool.gradtracer.server]\npol = 1\n")
    (invocation,) = sarif_run(command("check", "--output-format", "sarif"))["invocations"]
    (notification,) = invocation["toolExecutionNotifications"]
    assert "poll_seconds" in notification["message"]["text"]


def test_the_schema_refuses_what_is_no_log() -> None:
    assert complaints({"version": "2.1.0", "runs": [{"results": [{"level": "loud"}]}]})


def test_fingerprints_outlive_lines_widths_and_runs(project: RunFactory, command: Command) -> None:
    def prints() -> set[str]:
        results = sarif_run(command("check", "--output-format", "sarif"))["results"]
        return {each["partialFingerprints"]["gradtracer/v1"] for each in results}

    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    before = prints()
    assert len(before) == 2
    text = project.script.read_text(encoding="utf-8")
    project.script.write_text(f"# moved\n\n{text}", encoding="utf-8")
    project.finished("ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS")
    assert prints() == before


def test_github_annotations_stand_on_the_line(project: RunFactory, command: Command) -> None:
    project.finished()
    answer = command("check", "--output-format", "github")
    assert answer.status == 1
    first = answer.out.splitlines()[0]
    assert first.startswith(
        "::warning file=train.py,line=10,endLine=10,col=25,endColumn=47,"
        "title=ZOMBIE_EMBEDDINGS item_emb::41 of 1,000 rows of item_emb move much"
    )
    assert "%0Alook at the examples behind the named rows." in first


def test_github_annotation_cannot_be_broken_out_of(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose(
        "ZOMBIE_EMBEDDINGS",
        "a,b::c%0A\n::error::x",
        site=project.layer_site("item_emb"),
        premise="50 %\n::set-output name=x::y",
        severity="information",
    )
    lines = command("check", "--output-format", "github").out.splitlines()
    assert [line for line in lines if line.startswith("::")] == lines[:1]
    assert lines[0].startswith("::notice ")
    properties, message = re.fullmatch(r"::notice (.*?)::(.*)", lines[0]).groups()  # type: ignore[union-attr]
    title = properties.partition("title=")[2]
    assert title.startswith("ZOMBIE_EMBEDDINGS a%2Cb%3A%3Ac%250A")
    assert "," not in title
    assert "50 %25" in message


def test_markdown_is_a_table_with_the_patches_folded(project: RunFactory, command: Command) -> None:
    project.finished()
    answer = command("check", "--output-format", "markdown")
    assert answer.status == 1
    assert answer.out.startswith("## GradTracer: 1 finding\n")
    assert "| `train.py:10:25` | `ZOMBIE_EMBEDDINGS` | `item_emb` | " in answer.out
    assert "```diff\n--- a/train.py\n" in answer.out


def test_markdown_cannot_be_broken_out_of(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose(
        "ZOMBIE_EMBEDDINGS", "item_emb", premise="a | b <img src=x> [x](http://y)\n\n# item_emb"
    )
    out = command("check", "--output-format", "markdown").out
    (row,) = [line for line in out.splitlines() if line.startswith("| `train.py")]
    assert row.replace("\\|", "").count("|") == 7
    assert "<img" not in row.replace("\\<img", "")


def test_markdown_of_nothing_says_so(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.end()
    answer = command("check", "--output-format", "markdown")
    assert (answer.status, answer.out.splitlines()[0]) == (0, "## GradTracer: No findings")
