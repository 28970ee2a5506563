"""schemas imports nothing of ours, probe and server never each other, the server no trainer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "gradtracer_schemas": ROOT / "schemas" / "gradtracer_schemas",
    "gradtracer": ROOT / "probe" / "gradtracer",
    "gradtracer_server": ROOT / "server" / "gradtracer_server",
}
TRAINERS = {"torch", "xgboost", "lightgbm", "catboost"}
FOLDERS = {"probe", "server", "schemas"}
BANNED = {
    "gradtracer_schemas": FOLDERS | TRAINERS | {"gradtracer", "gradtracer_server", "numpy", "zmq"},
    "gradtracer": FOLDERS | {"gradtracer_server", "pygls", "lsprotocol"},
    "gradtracer_server": FOLDERS | TRAINERS | {"gradtracer"},
}
LSP_SIDE = {
    "server.py",
    "language_server.py",
    "session.py",
    "protocol.py",
    "capabilities.py",
    "features/",
    "render/markdown.py",
}
"""The only parts of the server that may import pygls: the commands share all the others."""


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import, lazy ones and import_module too."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name.partition(".")[0]) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module.partition(".")[0]
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module.partition(".")[0]
            case _:
                pass


def violations(folder: Path, banned: set[str]) -> list[str]:
    return [
        f"{path.relative_to(folder)}:{line} imports {name}"
        for path in sorted(folder.rglob("*.py"))
        for line, name in imported(path.read_text(encoding="utf-8"))
        if name in banned
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_in_the_allowed_direction(package: str) -> None:
    assert violations(PACKAGES[package], BANNED[package]) == []


@pytest.mark.parametrize("folder", ["tests", "examples"])
def test_folder_names_are_never_imported(folder: str) -> None:
    assert violations(ROOT / folder, FOLDERS) == []


def test_only_the_lsp_side_of_the_server_imports_pygls() -> None:
    found = violations(PACKAGES["gradtracer_server"], {"pygls"})
    elsewhere = [it for it in found if not it.startswith(tuple(LSP_SIDE))]
    assert elsewhere == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "import torch.nn as nn",
        "from torch import nn",
        "from torch.nn import Embedding",
        "def f():\n    import torch",
        "if TYPE_CHECKING:\n    from torch import Tensor",
        "importlib.import_module('torch.nn')",
        "import_module('torch')",
        "__import__('torch')",
    ],
)
def test_the_check_sees_every_form_of_a_banned_import(line: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "guilty.py").write_text(line, encoding="utf-8")
    (found,) = violations(tmp_path, BANNED["gradtracer_server"])
    assert found.startswith("deep/guilty.py:")
    assert found.endswith("imports torch")


@pytest.mark.parametrize(
    "line", ["import gradtracer_schemas", "from . import torch", "import torchless", "x = 'torch'"]
)
def test_the_check_leaves_other_imports_alone(line: str, tmp_path: Path) -> None:
    (tmp_path / "innocent.py").write_text(line, encoding="utf-8")
    assert violations(tmp_path, BANNED["gradtracer_server"]) == []
