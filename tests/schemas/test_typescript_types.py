"""The client's generated types take every golden message, and refuse wrong ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "schemas" / "examples"
TSC = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
OPTIONS = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "ES2022"]

Compile = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def compile_against_types(tmp_path: Path) -> Compile:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, so the TypeScript types were not compiled")
    if not TSC.is_file():
        pytest.skip("npm packages are not installed (run npm ci), so no TypeScript was compiled")
    shutil.copy(ROOT / "client-vscode" / "src" / "protocol.ts", tmp_path / "protocol.ts")

    def compile_source(source: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "examples.ts").write_text(
            f'import type {{ Connection, Event }} from "./protocol";\n{source}', encoding="utf-8"
        )
        return subprocess.run(
            [node, TSC, *OPTIONS, "examples.ts"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return compile_source


def literal(name: str) -> str:
    return (EXAMPLES / f"{name}.json").read_text(encoding="utf-8").strip()


def test_every_example_is_assignable_to_the_generated_type(compile_against_types: Compile) -> None:
    names = sorted(path.stem for path in EXAMPLES.glob("*.json"))
    source = "".join(
        f"export const {name}: {'Connection' if name == 'connection' else 'Event'} = "
        f"{literal(name)};\n"
        for name in names
    )
    result = compile_against_types(source)
    assert result.returncode == 0, result.stdout


def test_wrong_examples_do_not_compile(compile_against_types: Compile) -> None:
    progress = json.loads(literal("progress"))
    diagnosis = json.loads(literal("diagnosis_raised"))
    wrong = {
        "text_for_a_number": progress | {"seq": "7"},
        "no_such_kind": progress | {"kind": "progres"},
        "no_such_field": progress | {"sequence": 7},
        "body_of_another_kind": diagnosis | {"body": progress["body"]},
        "no_such_severity": diagnosis | {"body": diagnosis["body"] | {"severity": "fatal"}},
        "step_missing": {key: progress[key] for key in progress if key != "step"},
    }
    lines = [f"export const {name}: Event = {json.dumps(it)};" for name, it in wrong.items()]
    result = compile_against_types("\n".join(lines) + "\n")
    assert result.returncode != 0
    for number in range(2, 2 + len(lines)):
        assert f"examples.ts({number}," in result.stdout, result.stdout
