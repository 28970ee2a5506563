"""The extension offers every setting of the server, under the same name and default."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec

from gradtracer_server.settings import ServerSettings

CLIENT = Path(__file__).parents[2] / "client-vscode"
OWN = {"interpreter", "trace.server"}
"""Settings of the extension that the server never hears of."""
TOLD = {"canDrawImages", "theme"}
"""What the extension says of the editor: nothing that a user would set."""


def _offered() -> dict[str, object]:
    manifest = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
    properties = manifest["contributes"]["configuration"]["properties"]
    assert all("description" in p or "markdownDescription" in p for p in properties.values())
    return {name.removeprefix("gradtracer."): p["default"] for name, p in properties.items()}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def test_every_setting_of_the_server_is_offered_with_its_default_and_no_other() -> None:
    known = {name: default for name, default in _defaults().items() if name not in TOLD}
    offered = {name: default for name, default in _offered().items() if name not in OWN}
    assert offered == known, "bring client-vscode/package.json in line with ServerSettings"


def test_the_extension_sends_every_setting_of_the_server() -> None:
    source = (CLIENT / "src" / "settings.ts").read_text(encoding="utf-8")
    listed = re.search(r"SERVER_SETTINGS[^=]*= \[(.*?)\]", source, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == _defaults().keys() - TOLD
    assert all(re.search(rf"\b{name}: ", source) for name in TOLD)


def _defaults() -> dict[str, object]:
    return {_camel(name): each for name, each in msgspec.to_builtins(ServerSettings()).items()}
