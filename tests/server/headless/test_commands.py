"""The command line itself, `rule` and `runs`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from run_factory import RunFactory

from gradtracer_schemas import RULES
from gradtracer_server.headless.arguments import parse, tcp_address

from .conftest import Command


def test_help_shows_examples_and_every_command(command: Command) -> None:
    answer = command("--help")
    assert answer.status == 0
    assert "examples:" in answer.out
    for name in ("serve", "check", "rule", "runs"):
        assert f"    {name}" in answer.out


def test_without_a_command_the_help_is_shown(command: Command) -> None:
    answer = command()
    assert (answer.status, answer.out) == (2, "")
    assert "examples:" in answer.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("chek",), "invalid choice: 'chek'; did you mean check?"),
        (("check", "--output-format", "sarf"), "'sarf'; did you mean sarif?"),
        (("frobnicate",), "invalid choice: 'frobnicate' (choose from 'check', "),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(
    command: Command, given: tuple[str, ...], said: str
) -> None:
    answer = command(*given)
    assert answer.status == 2
    assert said in answer.err


def test_every_example_of_the_help_is_a_valid_command(command: Command) -> None:
    examples = [
        line.split("   ")[0].split()
        for line in (each.strip() for each in command("--help").out.splitlines())
        if line.startswith("gradtracer ")
    ]
    assert len(examples) >= 5
    for example in examples:
        parse(example[1:])


def test_version_is_that_of_the_distribution(command: Command) -> None:
    assert command("--version").out == f"gradtracer {version('gradtracer')}\n"


def test_module_runs_as_the_command_does(project: RunFactory) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gradtracer_server", "rule"], capture_output=True, check=True
    )
    assert result.stdout.startswith(b"ZOMBIE_EMBEDDINGS")


@pytest.mark.parametrize("arguments", [[], ["chek"], ["check", "--format", "xml"], ["serve", "x"]])
def test_wrong_command_lines_exit_2(command: Command, arguments: list[str]) -> None:
    answer = command(*arguments)
    assert answer.status == 2
    assert "usage: gradtracer" in answer.err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2087", ("127.0.0.1", 2087)),
        (":0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_tcp_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert tcp_address(text) == address


@pytest.mark.parametrize(
    "text", ["2087", "host:", "host:x", "host:65536", "::1:80", "h:-1", "h:\u0663"]
)
def test_tcp_address_that_is_none_names_what_is_expected(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected"):
        tcp_address(text)


@pytest.mark.parametrize("type_", RULES)
def test_rule_prints_the_whole_page(command: Command, type_: str) -> None:
    answer = command("rule", type_.lower().replace("_", "-"))
    assert answer.status == 0
    page = RULES[type_]  # type: ignore[index]
    words = " ".join(answer.out.split())
    for text in (page.title, page.looks_for, page.matters, page.remedies, page.silent_when):
        assert " ".join(text.split()) in words
    assert max(map(len, answer.out.splitlines())) <= 100


def test_rule_without_a_type_lists_all(command: Command) -> None:
    assert [line.split()[0] for line in command("rule").out.splitlines()] == list(RULES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ZOMBI_EMBEDDINGS", "ZOMBIE_EMBEDDINGS"),
        ("dead", "DEAD_EMBEDDINGS"),
        ("xyzzy", "lists them"),
        ("", "lists them"),
    ],
)
def test_unknown_rule_names_the_nearest(command: Command, name: str, hint: str) -> None:
    answer = command("rule", name)
    assert answer.status == 2
    assert hint in answer.err


def test_reserved_type_is_told_from_an_unknown_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(RULES, "COMPRESSIBLE", raising=False)
    answer = command("rule", "COMPRESSIBLE")
    assert answer.status == 0
    assert "reserved" in answer.out


def test_runs_are_listed_newest_first(project: RunFactory, command: Command) -> None:
    first = project.finished("ZOMBIE_EMBEDDINGS")
    second = project.start()
    second.progress(step=1234)
    answer = command("runs")
    assert answer.status == 0
    heading, newest, oldest = answer.out.splitlines()
    assert heading.split() == ["run", "status", "script", "steps", "diagnoses"]
    assert newest.split() == [second.id, "live", "train.py", "1,234", "none"]
    assert oldest.split() == [first.id, "finished", "train.py", "300", "ZOMBIE_EMBEDDINGS"]


def test_runs_are_listed_for_programs(project: RunFactory, command: Command) -> None:
    run = project.finished("ZOMBIE_EMBEDDINGS")
    (record,) = json.loads(command("runs", "--output-format", "json").out)
    assert record["id"] == run.id
    assert record["status"] == "finished"
    assert record["steps"] == 300
    assert record["failure"] is None
    assert record["diagnoses"] == [f"ZOMBIE_EMBEDDINGS:item_emb@{run.id}"]


def test_failure_is_told_to_programs(project: RunFactory, command: Command) -> None:
    run = project.start()
    run.watch_layers()
    run.observe("item_emb")
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    run.fail()
    failure = {
        "exception": "IndexError",
        "message": "index out of range in self",
        "file": str(project.script),
        "line": 13,
    }
    for name in ("runs", "check"):
        (record,) = json.loads(command(name, "--output-format", "json").out)
        assert record["failure"] == failure


def test_runs_of_a_folder_without_any_say_where_they_were_sought(command: Command) -> None:
    answer = command("runs")
    assert answer.status == 0
    assert "No runs found" in answer.out
