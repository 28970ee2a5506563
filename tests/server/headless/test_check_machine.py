"""`gradtracer check` for programs: JSON, patches, pipes, and how little it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from run_factory import WATCH_STATEMENT, RunFactory, statement_of

from gradtracer_server import __main__ as entry

from .conftest import Command

UNWANTED = {"pygls", "lsprotocol", "numpy", "torch", "zmq", "rich", "asyncio"}


def records(answer: Any) -> list[dict[str, Any]]:
    return json.loads(answer.out)


def shell(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gradtracer_server", *arguments],
        cwd=cwd,
        capture_output=True,
        check=False,
        **options,
    )


def test_json_record_carries_everything_an_agent_needs(
    project: RunFactory, command: Command
) -> None:
    run = project.finished()
    answer = command("check", "--output-format", "json")
    assert answer.status == 1
    (record,) = records(answer)
    fixes, related = record.pop("fixes"), record.pop("related")
    assert len(record.pop("fingerprint")) == 16
    assert record == {
        "id": f"ZOMBIE_EMBEDDINGS:item_emb@{run.id}",
        "type": "ZOMBIE_EMBEDDINGS",
        "layer": "item_emb",
        "severity": "warning",
        "confidence": 0.98,
        "path": "train.py",
        "line": 10,
        "column": 25,
        "end_line": 10,
        "end_column": 47,
        "state": "current",
        "baseline_state": None,
        "run": run.id,
        "run_status": "finished",
        "failure": None,
        "premise": "41 of 1,000 rows of item_emb move much and get nowhere",
        "implies": "their updates are spent on contradictory labels",
        "action": "look at the examples behind the named rows",
        "expected_effect": "the rows' gradient noise falls to that of their peers",
        "risk": "rare rows learn more slowly",
        "evidence": [
            {
                "statistic": "zombie_share",
                "value": 0.041,
                "threshold": 0.01,
                "comparison": "above",
                "n": 1000,
                "unit": "",
                "interval": None,
                "interval_level": 0.95,
                "p_value": 0.0004,
                "test": "von Neumann ratio, Benjamini-Hochberg",
            }
        ],
        "rows": {"count": 41, "of": 1000, "sample": [7, 12, 99]},
    }
    assert {fix["name"]: fix["preferred"] for fix in fixes}["enable-auto-fix"] is True
    assert all(
        {"name", "title", "preferred", "safe", "disabled_reason"} == set(fix) for fix in fixes
    )
    assert [(each["role"], each["line"]) for each in related] == [("site", 13), ("watch", 15)]


def test_json_lists_what_text_leaves_out_with_its_state(
    project: RunFactory, command: Command
) -> None:
    project.finished()
    text = project.script.read_text(encoding="utf-8")
    project.script.write_text(text.replace(statement_of("item_emb"), "pass"), encoding="utf-8")
    answer = command("check", "--output-format", "json")
    assert answer.status == 0
    (record,) = records(answer)
    assert (record["state"], record["line"], record["fixes"]) == ("gone", None, [])


def test_json_of_no_runs_is_an_empty_list_and_the_reason_a_note(command: Command) -> None:
    answer = command("check", "--output-format", "json")
    assert answer.status == 0
    assert records(answer) == []
    assert "No runs found" in answer.err


def test_diff_is_a_patch_that_applies(project: RunFactory, command: Command) -> None:
    project.finished()
    answer = command("check", "--diff")
    assert answer.status == 1
    assert answer.out.startswith("--- a/train.py\n+++ b/train.py\n@@ ")
    assert f"-{WATCH_STATEMENT}" in answer.out
    assert "train.py:10:25: ZOMBIE_EMBEDDINGS item_emb: " in answer.err
    before = project.script.read_text(encoding="utf-8")
    subprocess.run(["git", "apply", "-"], input=answer.out.encode(), cwd=project.root, check=True)
    after = project.script.read_text(encoding="utf-8")
    assert after != before
    assert "auto_fix=True" in after
    assert command("check", "--diff").status == 0


def test_edit_that_serves_two_findings_is_printed_once(
    project: RunFactory, command: Command
) -> None:
    project.finished("ZOMBIE_EMBEDDINGS", "EMBEDDING_DRIFT")
    answer = command("check", "--diff")
    assert answer.out.count("--- a/train.py") == 1
    assert len(answer.err.splitlines()) == 2


def test_finding_without_a_fix_says_so(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", fixes=[])
    answer = command("check", "--diff")
    assert answer.out == ""
    assert "no fix can be made here" in answer.err


def test_diff_and_json_exclude_each_other(command: Command) -> None:
    assert command("check", "--diff", "--output-format", "json").status == 2


def test_files_are_never_written(project: RunFactory, command: Command) -> None:
    project.finished()

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}

    before = contents()
    command("check", "--show-fixes")
    command("check", "--diff")
    assert contents() == before


def test_reader_that_leaves_early_is_no_error(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    for number in range(3000):
        run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", id=f"Z:{number}@{run.id}")
    process = subprocess.Popen(
        [sys.executable, "-m", "gradtracer_server", "check", "--output-format", "json"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert errors == b""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_any_text_can_be_printed_in_any_encoding(project: RunFactory, encoding: str) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb", premise="\u7269\u54c1 \U0001f9df \u00e9")
    environment = os.environ | {"PYTHONIOENCODING": encoding, "NO_COLOR": "1"}
    result = shell("check", cwd=project.root, env=environment)
    assert result.returncode == 1
    assert result.stderr == b""
    assert b"\x1b" not in result.stdout


def test_error_of_ours_does_not_look_like_findings(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise RuntimeError("a slip")

    monkeypatch.setattr(entry, "_run", fail)
    answer = command("check")
    assert answer.status == 2
    assert "a slip" in answer.err
    assert "please report" in answer.err


def test_check_loads_nothing_heavy(project: RunFactory) -> None:
    project.finished()
    assert _loaded("check", project=project) == set()


def test_what_is_loaded_is_seen(project: RunFactory) -> None:
    assert _loaded("check", project=project, also="import pygls, zmq") >= {"pygls", "zmq"}


def _loaded(*arguments: str, project: RunFactory, also: str = "") -> set[str]:
    """Which unwanted modules a command has loaded when it ends."""
    program = (
        "import sys\n"
        f"{also}\n"
        "from gradtracer_server.__main__ import main\n"
        f"main({list(arguments)!r})\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    return UNWANTED & set(result.stderr.split())
