"""Small modules, named for what they hold, in plain text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["probe", "server", "client-vscode", "schemas", "tests", "examples"]
TEXT = {".py", ".ts", ".md", ".toml", ".json", ".yaml", ".yml", ".lua", ".el", ".vim"}
NOT_OURS = {"node_modules", "out", "__pycache__", "artefacts", "package-lock.json"}
GENERATED = {"protocol.ts"}
MOST_LINES = 500
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
# Pictographs, dingbats, flags and the selector that turns a sign into a picture
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0f]")


def texts(root: Path) -> Iterator[Path]:
    """Our own text files: the folders, and what lies at the top."""
    below = (path for folder in FOLDERS for path in (root / folder).rglob("*"))
    for path in [*root.iterdir(), *below]:
        parts = path.relative_to(root).parts
        ours = not any(part in NOT_OURS or part.startswith(".") for part in parts)
        if ours and path.is_file() and (path.suffix in TEXT or path.name == "Makefile"):
            yield path


def too_long(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}: {lines} lines"
        for path in texts(root)
        if path.suffix in (".py", ".ts") and path.name not in GENERATED
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    ]


def named_for_nothing(root: Path) -> list[str]:
    return [
        str(path.relative_to(root))
        for path in texts(root)
        if path.suffix in (".py", ".ts")
        if NO_NAMES & {part.removesuffix(path.suffix) for part in path.relative_to(root).parts}
    ]


def with_pictures(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{number}: {unicodedata.name(found[0], 'unnamed')}"
        for path in texts(root)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (found := EMOJI.search(line))
    ]


def test_no_module_is_longer_than_it_may_be() -> None:
    assert too_long(ROOT) == []


def test_no_module_is_named_for_nothing() -> None:
    assert named_for_nothing(ROOT) == []


def test_no_emoji_in_code_or_docs() -> None:
    assert with_pictures(ROOT) == []


def test_the_rules_reach_every_folder() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in texts(ROOT)}
    assert {*FOLDERS, "pyproject.toml", "Makefile", "CONTRIBUTING.md"} <= found


@pytest.mark.parametrize("picture", ["\U0001f680", "\u2705", "\u26a0\ufe0f", "\u2b50"])
def test_each_rule_can_fail(tmp_path: Path, picture: str) -> None:
    package = tmp_path / "probe" / "helpers"
    package.mkdir(parents=True)
    (package / "long.py").write_text("x = 1\n" * (MOST_LINES + 1), encoding="utf-8")
    (tmp_path / "README.md").write_text(f"Fast\n{picture} launch\n", encoding="utf-8")
    assert too_long(tmp_path) == [f"probe/helpers/long.py: {MOST_LINES + 1} lines"]
    assert named_for_nothing(tmp_path) == ["probe/helpers/long.py"]
    (found,) = with_pictures(tmp_path)
    assert found.startswith("README.md:2: ")


def placeholders(text: str) -> list[str]:
    """Lines that hold nothing but a word in capitals, outside code."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.findall(r"^[A-Z]{4,}$", prose, re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/bench/README.md"],
)
def test_no_document_holds_a_placeholder(name: str) -> None:
    assert placeholders((ROOT / name).read_text(encoding="utf-8")) == []


def test_a_placeholder_is_seen() -> None:
    assert placeholders("## Cost\n\nFIGURES\n\n```\nTODO\n```\n") == ["FIGURES"]
