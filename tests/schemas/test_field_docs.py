"""Every wire field is documented under the field."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TYPES = Path(__file__).resolve().parents[2] / "schemas" / "gradtracer_schemas"


def undocumented(source: str) -> list[str]:
    """`Class.field` of each annotated class field with no text beneath it."""
    missing: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign):
                continue
            documented = (
                isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
                and following.value.value.strip() != ""
            )
            if not documented:
                missing.append(f"{node.name}.{ast.unparse(statement.target)}")
    return missing


@pytest.mark.parametrize("path", sorted(TYPES.glob("*.py")), ids=lambda path: path.stem)
def test_every_field_has_a_text_beneath_it(path: Path) -> None:
    public = [
        name for name in undocumented(path.read_text(encoding="utf-8")) if not name.startswith("_")
    ]
    assert public == []


def test_the_check_sees_a_field_without_a_text() -> None:
    source = 'class A:\n    x: int\n    """Said."""\n    y: int\n    z: int\n    """Said."""\n'
    assert undocumented(source) == ["A.y"]
