"""`gradtracer completion`, and the help of every command."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from run_factory import RunFactory

from gradtracer_server.headless.arguments import parse

from .conftest import Command

COMMANDS = [
    ["check"],
    ["fix"],
    ["rule"],
    ["runs"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "compare"],
    ["runs", "prune"],
    ["watch"],
    ["report"],
    ["control"],
    ["serve"],
    ["mcp"],
    ["completion"],
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_knows_every_command(command: Command, shell: str) -> None:
    answer = command("completion", shell)
    assert answer.status == 0
    for name in ("check", "fix", "runs", "report", "watch", "mcp"):
        assert re.search(rf"\b{name}\b", answer.out)
    assert "output-format" in answer.out


def test_script_of_bash_is_sound_and_completes(project: RunFactory, command: Command) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = command("completion", "bash").out
    ask = (
        f"{script}\nCOMP_WORDS=(gradtracer che); COMP_CWORD=1; COMP_LINE='gradtracer che'\n"
        'function_name=$(complete -p gradtracer | sed "s/.*-F \\([^ ]*\\).*/\\1/")\n'
        '"$function_name" gradtracer che gradtracer; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["check"]


def test_unknown_shell_is_a_usage_error(command: Command) -> None:
    assert command("completion", "cmd").status == 2


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_has_examples_and_each_of_them_is_valid(command: Command, name: list[str]) -> None:
    answer = command(*name, "--help")
    assert answer.status == 0
    _, examples = answer.out.split("examples:\n")
    lines = [line.strip() for line in examples.splitlines()]
    given = [re.split(r"\s{3,}| [|>]{1,2} ", line)[0] for line in lines if line.startswith("grad")]
    assert given
    for example in given:
        words = shlex.split(example)[1:]
        assert words[: len(name)] == name or name == ["runs", "list"] or words[0] == name[0]
        parse(words)
