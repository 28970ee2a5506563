"""`--select`, `--ignore`, `--baseline` and `--since-run`: which findings count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_factory import RunFactory

from .conftest import Answer, Command
from .sarif_schema import complaints

ZOMBIES, BIAS = "ZOMBIE_EMBEDDINGS", "POPULARITY_BIAS"


def types(answer: Answer) -> list[str]:
    return [line.split()[1] for line in answer.out.splitlines() if line.startswith("train.py:")]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--select", ZOMBIES], [ZOMBIES]),
        (["--select", "zombie"], [ZOMBIES]),
        (["--select", "zombie-embeddings"], [ZOMBIES]),
        (["--select", f"{ZOMBIES},{BIAS}"], [BIAS, ZOMBIES]),
        (["--select", ZOMBIES, "--select", "POP"], [BIAS, ZOMBIES]),
        (["--ignore", "ZOMBIE"], [BIAS]),
        (["--select", "ZOMBIE", "--ignore", ZOMBIES], []),
        (["--select", "DEAD"], []),
    ],
)
def test_types_and_their_beginnings_select(
    project: RunFactory, command: Command, arguments: list[str], kept: list[str]
) -> None:
    project.finished(ZOMBIES, BIAS)
    answer = command("check", *arguments)
    assert sorted(types(answer)) == kept
    assert answer.status == (1 if kept else 0)


def test_an_id_selects_one_finding(project: RunFactory, command: Command) -> None:
    run = project.finished(ZOMBIES, BIAS)
    assert types(command("check", "--select", f"{BIAS}:item_emb@{run.id}")) == [BIAS]


def test_unknown_id_names_the_nearest(project: RunFactory, command: Command) -> None:
    run = project.finished(ZOMBIES, BIAS)
    answer = command("check", "--select", f"{ZOMBIES}:item_em@{run.id}")
    assert answer.status == 2
    assert answer.out == ""
    assert f"did you mean {ZOMBIES}:item_emb@{run.id}" in answer.err


@pytest.mark.parametrize("option", ["--select", "--ignore"])
def test_unknown_type_names_the_nearest(project: RunFactory, command: Command, option: str) -> None:
    project.finished(ZOMBIES)
    answer = command("check", option, "ZOMBY_EMBEDDINGS")
    assert answer.status == 2
    assert "did you mean ZOMBIE_EMBEDDINGS" in answer.err


def test_baseline_holds_back_what_it_knows(project: RunFactory, command: Command) -> None:
    project.finished(ZOMBIES)
    written = command("check", "--baseline", "known.json", "--write-baseline")
    assert (written.status, written.out) == (0, "")
    assert "1 finding written to known.json" in written.err
    project.finished(ZOMBIES, BIAS)
    answer = command("check", "--baseline", "known.json")
    assert answer.status == 1
    assert types(answer) == [BIAS]
    assert "1 new finding.\nNot shown: 1 known before.\n" in answer.out


def test_nothing_new_is_success(project: RunFactory, command: Command) -> None:
    project.finished(ZOMBIES)
    command("check", "--baseline", "known.json", "--write-baseline")
    answer = command("check", "--baseline", "known.json")
    assert answer.status == 0
    assert answer.out.startswith("No new findings.\n")


def test_baseline_states_are_those_of_sarif(project: RunFactory, command: Command) -> None:
    project.finished(ZOMBIES)
    command("check", "--baseline", "known.json", "--write-baseline")
    run = project.finished(BIAS)
    arguments = ("--baseline", "known.json", "--output-format")
    log = json.loads(command("check", *arguments, "sarif").out)
    assert complaints(log) == []
    states = {each["ruleId"]: each["baselineState"] for each in log["runs"][0]["results"]}
    assert states == {BIAS: "new", ZOMBIES: "absent"}
    (record,) = json.loads(command("check", *arguments, "json").out)
    assert (record["id"], record["baseline_state"]) == (f"{BIAS}:item_emb@{run.id}", "new")


def test_what_was_not_looked_at_is_not_absent(project: RunFactory, command: Command) -> None:
    project.finished(ZOMBIES, BIAS)
    command("check", "--baseline", "known.json", "--write-baseline")
    arguments = ("--baseline", "known.json", "--select", BIAS, "--output-format", "sarif")
    results = json.loads(command("check", *arguments).out)["runs"][0]["results"]
    assert [each["baselineState"] for each in results] == ["unchanged"]


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"gradtracer_baseline": 2}', "\x00", "[" * 10_000]
)
def test_what_is_no_baseline_is_a_usage_error(
    project: RunFactory, command: Command, content: str | None
) -> None:
    project.finished(ZOMBIES)
    if content is not None:
        (project.root / "known.json").write_text(content, encoding="utf-8")
    answer = command("check", "--baseline", "known.json")
    assert answer.status == 2
    assert "expected" in answer.err
    assert "Traceback" not in answer.err


def test_baseline_that_cannot_be_written_is_a_usage_error(
    project: RunFactory, command: Command
) -> None:
    project.finished(ZOMBIES)
    answer = command("check", "--baseline", str(Path("no") / "b.json"), "--write-baseline")
    assert answer.status == 2
    assert "expected a file that can be written" in answer.err


def test_writing_a_baseline_needs_its_name(project: RunFactory, command: Command) -> None:
    answer = command("check", "--write-baseline")
    assert answer.status == 2
    assert "--baseline FILE" in answer.err


@pytest.mark.parametrize("name", ["previous", "full", "20250101-000000-000001"])
def test_since_an_earlier_run_only_the_new_counts(
    project: RunFactory, command: Command, name: str
) -> None:
    first = project.finished(ZOMBIES)
    project.finished(ZOMBIES, BIAS)
    answer = command("check", "--since-run", first.id if name == "full" else name)
    assert answer.status == 1
    assert types(answer) == [BIAS]


def test_since_previous_without_one_all_is_new(project: RunFactory, command: Command) -> None:
    project.finished(ZOMBIES)
    assert types(command("check", "--since-run", "previous")) == [ZOMBIES]


def test_previous_is_of_the_same_script(project: RunFactory, command: Command) -> None:
    other = project.start(script=str(project.root / "other.py"))
    other.watch_layers()
    other.observe("item_emb")
    other.diagnose(BIAS, "user_emb")
    other.end()
    project.finished(ZOMBIES)
    assert ZOMBIES in types(command("check", "--since-run", "previous"))


def test_unknown_run_names_the_nearest(project: RunFactory, command: Command) -> None:
    project.finished(ZOMBIES, run_id="20250101-000000-00abcd")
    answer = command("check", "--since-run", "20250101-000000-00abce")
    assert answer.status == 2
    assert "did you mean 20250101-000000-00abcd?" in answer.err
    project.finished(ZOMBIES, run_id="20250101-000001-00abcd")
    assert "2 runs begin with" in command("check", "--since-run", "2025").err
