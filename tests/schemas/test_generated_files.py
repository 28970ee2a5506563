"""The generated files are fresh, and the check that says so can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest


def test_generated_files_are_fresh(root: Path) -> None:
    check = subprocess.run(
        [sys.executable, root / "schemas" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


def test_check_names_the_edited_and_the_missing_file(
    generator: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    capsys.readouterr()

    types = tmp_path / "client-vscode" / "src" / "protocol.ts"
    types.write_text(types.read_text().replace("readonly seq: number", "readonly seq: string"))
    (tmp_path / "schemas" / "json" / "recipe.schema.json").unlink()

    assert generator.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "client-vscode/src/protocol.ts" in told
    assert "schemas/json/recipe.schema.json" in told
    assert "event.schema.json" not in told
    assert "make generate" in told


def test_an_unknown_argument_is_refused(generator: ModuleType) -> None:
    assert generator.main(["--chek"]) == 2


def test_every_wire_field_carries_its_text_into_both_outputs(root: Path) -> None:
    typescript = (root / "client-vscode" / "src" / "protocol.ts").read_text()
    assert "/** Sequence number from 0, without gaps within run and rank. */" in typescript
    schema = json.loads((root / "schemas" / "json" / "event.schema.json").read_text())
    for name, definition in schema["$defs"].items():
        for field, described in definition["properties"].items():
            assert field == "kind" or described.get("description"), f"{name}.{field}"


def test_a_type_without_a_typescript_form_stops_the_generator(generator: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"add one to schemas/generate\.py"):
        generator._type(msgspec.inspect.type_info(bytes), {})
