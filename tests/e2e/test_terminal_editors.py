"""Emacs with eglot and Vim with ALE show the diagnosis, hover, apply the fix and write the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from editor_process import drive
from run_factory import WATCH_STATEMENT, RunFactory, statement_of

HERE = Path(__file__).parent
EGLOT = Path("/usr/share/emacs/site-lisp/elpa")
ALE = Path("/usr/share/vim-ale")


@pytest.fixture
def project(tmp_path: Path) -> RunFactory:
    """A project with a finished run of two embedding tables."""
    project = RunFactory(tmp_path / "project")
    project.finished()
    return project


@pytest.fixture(params=["emacs", "vim"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """What starts the editor with its driver."""
    program = shutil.which(request.param)
    if request.param == "emacs":
        if program is None or not list(EGLOT.glob("eglot-*")):
            pytest.skip("needs Emacs with eglot: apt-get install emacs-nox elpa-eglot")
        return [program, "--batch", "-l", str(HERE / "emacs" / "drive.el")]
    if program is None or not ALE.is_dir():
        pytest.skip("needs Vim with ALE: apt-get install vim-nox vim-ale")
    quiet = ["-N", "-u", "NONE", "-i", "NONE", "--not-a-term"]
    return [program, *quiet, "-S", str(HERE / "vim" / "drive.vim")]


def report_of(
    command: list[str], project: RunFactory, tmp_path: Path, action: str
) -> dict[str, object]:
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
    command: list[str], project: RunFactory, tmp_path: Path, action: str, old: str, new: str
) -> None:
    before = project.script.read_text(encoding="utf-8")
    report = report_of(command, project, tmp_path, action)
    assert report.get("problem") is None
    assert str(report["line_text"]).strip() == statement_of("item_emb")
    assert "41 of 1,000 rows of item_emb" in str(report["message"])
    assert "41 of 1,000 rows of item_emb move much and get nowhere." in str(report["hover"])
    assert "Coverage" in str(report["hover"])
    assert len(list(report["titles"])) == 3
    assert report["gone"]
    if Path(command[0]).name == "emacs":
        assert report["popups"] == []
    assert project.script.read_text(encoding="utf-8") == before.replace(old, new)


def test_the_driver_fails_when_the_fix_is_not_offered(
    command: list[str], project: RunFactory, tmp_path: Path
) -> None:
    report = report_of(command, project, tmp_path, "brew coffee")
    assert "no action is titled brew coffee" in str(report["problem"])
