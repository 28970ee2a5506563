"""A real Emacs with eglot shows the diagnosis, hovers, applies the fix and writes the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from editor_process import drive
from run_factory import WATCH_STATEMENT, RunFactory, statement_of

EMACS = shutil.which("emacs")
EGLOT = Path("/usr/share/emacs/site-lisp/elpa")
DRIVER = Path(__file__).with_name("drive.el")


@pytest.fixture
def project(tmp_path: Path) -> RunFactory:
    """A project with a finished run of two embedding tables."""
    project = RunFactory(tmp_path / "project")
    project.finished()
    return project


def emacs(project: RunFactory, tmp_path: Path, action: str) -> dict[str, object]:
    if EMACS is None or not list(EGLOT.glob("eglot-*")):
        pytest.skip("needs Emacs with eglot: apt-get install emacs-nox elpa-eglot")
    command = [EMACS, "--batch", "-l", str(DRIVER)]
    return drive(
        command,
        tmp_path / "home",
        project.root,
        project.script,
        code="ZOMBIE_EMBEDDINGS",
        action=action,
    )


@pytest.mark.parametrize(
    ("action", "old", "new"),
    [
        ("auto_fix", WATCH_STATEMENT, WATCH_STATEMENT[:-1] + ", auto_fix=True)"),
        (
            "gnore",
            f"{statement_of('item_emb')}\n",
            f"{statement_of('item_emb')}  # gradtracer: ignore[ZOMBIE_EMBEDDINGS]\n",
        ),
    ],
    ids=["auto-fix", "suppress"],
)
def test_a_person_sees_hovers_fixes_and_writes(
    project: RunFactory, tmp_path: Path, action: str, old: str, new: str
) -> None:
    before = project.script.read_text(encoding="utf-8")
    report = emacs(project, tmp_path, action)
    assert report.get("problem") is None
    assert str(report["line_text"]).strip() == statement_of("item_emb")
    assert "41 of 1,000 rows of item_emb" in str(report["message"])
    assert "41 of 1,000 rows of item_emb move much and get nowhere." in str(report["hover"])
    assert "Coverage" in str(report["hover"])
    assert len(list(report["titles"])) == 3
    assert report["gone"]
    assert report["popups"] == []
    assert project.script.read_text(encoding="utf-8") == before.replace(old, new)


def test_the_driver_fails_when_the_fix_is_not_offered(project: RunFactory, tmp_path: Path) -> None:
    report = emacs(project, tmp_path, "brew coffee")
    assert "no action is titled brew coffee" in str(report["problem"])
