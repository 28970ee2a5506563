"""A real Neovim shows the diagnosis, hovers, applies the fix and writes the right file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import pytest
from run_factory import WATCH_STATEMENT, RunFactory, statement_of

Neovim = Callable[..., dict[str, Any]]


def changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:1] in "+-" and line[:3] not in {"+++", "---"}]


@pytest.mark.parametrize(
    ("action", "old", "new"),
    [
        ("auto_fix", WATCH_STATEMENT, WATCH_STATEMENT[:-1] + ", auto_fix=True)"),
        (
            "gnore",
            f"        {statement_of('item_emb')}",
            f"        {statement_of('item_emb')}  # gradtracer: ignore[ZOMBIE_EMBEDDINGS]",
        ),
    ],
    ids=["auto-fix", "suppress"],
)
def test_a_person_sees_hovers_fixes_and_writes(
    project: RunFactory, nvim: str, neovim: Neovim, action: str, old: str, new: str
) -> None:
    project.finished()
    before = project.script.read_text(encoding="utf-8")
    report = neovim(project.root, project.script, code="ZOMBIE_EMBEDDINGS", action=action)
    assert report["line_text"].strip() == statement_of("item_emb")
    assert report["message"].startswith("41 of 1,000 rows of item_emb")
    assert "Coverage" in report["hover"]
    assert "41 of 1,000 rows of item_emb move much and get nowhere." in report["hover"]
    # 0.7 shows no inlay hints.
    if nvim != "/usr/bin/nvim":
        assert "rank 21.5/64, 91 % seen" in report["hints"]
    assert len(report["titles"]) == 3
    assert report["gone"]
    assert report["notified"] == []
    after = project.script.read_text(encoding="utf-8")
    assert changed_lines(before, after) == [f"-{old}", f"+{new}"]


def test_the_driver_fails_when_the_fix_is_not_offered(project: RunFactory, neovim: Neovim) -> None:
    project.finished()
    with pytest.raises(AssertionError, match="no action is titled"):
        neovim(project.root, project.script, code="ZOMBIE_EMBEDDINGS", action="brew coffee")
