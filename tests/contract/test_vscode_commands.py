"""The extension's commands and the server's never share a name: the editor would refuse both."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gradtracer_server.features.execute_command import COMMANDS

CLIENT = Path(__file__).parents[2] / "client-vscode"
REGISTERED = re.compile(r"register(?:TextEditor)?Command\(\s*\"([\w.]+)\"")


def _offered() -> set[str]:
    manifest = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
    return {each["command"] for each in manifest["contributes"]["commands"]}


def _registered() -> set[str]:
    sources = (path.read_text(encoding="utf-8") for path in (CLIENT / "src").rglob("*.ts"))
    return {name for source in sources for name in REGISTERED.findall(source)}


def test_what_is_offered_is_registered_and_the_other_way_round() -> None:
    assert _offered() == _registered()


def test_no_name_is_taken_twice() -> None:
    # The language client registers each command of the server under its own name.
    assert _registered() & COMMANDS.keys() == set()


def test_the_commands_of_the_server_that_are_called_exist() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (CLIENT / "src").rglob("*.ts")]
    called = {
        name
        for source in sources
        for name in re.findall(r"executeCommand\(\s*\"(gradtracer\.[\w.]+)\"", source)
    }
    assert called
    assert called <= COMMANDS.keys() | _registered()
