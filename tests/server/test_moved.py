"""A file that was moved outside the editor: found at its new place, or honestly gone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from run_factory import RunFactory

from gradtracer_schemas import SourceSite
from gradtracer_server.findings import Finding
from gradtracer_server.headless.survey import survey


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def findings(project: RunFactory) -> list[Finding]:
    return survey([project.root]).findings


@pytest.fixture
def trained(project: RunFactory) -> RunFactory:
    """A script in a repository, and its run."""
    git(project.root, "init", "-q")
    git(project.root, "add", "train.py")
    git(project.root, "commit", "-qm", "a script")
    project.finished()
    return project


@pytest.mark.parametrize("new", ["training.py", "study/models/mf.py"])
def test_git_mv_is_followed(trained: RunFactory, new: str) -> None:
    (trained.root / new).parent.mkdir(parents=True, exist_ok=True)
    git(trained.root, "mv", "train.py", new)
    (finding,) = findings(trained)
    assert (finding.state, finding.path) == ("current", trained.root / new)
    assert finding.anchor is not None
    assert finding.anchor.state == "exact"


def test_a_folder_that_was_moved_is_followed(project: RunFactory) -> None:
    inner = RunFactory(project.root / "models")
    project.script.unlink()
    run = inner.start(root=str(project.root))
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    run.end()
    (inner.root / ".gradtracer").rename(project.root / ".gradtracer")
    inner.root.rename(project.root / "nets")
    (finding,) = findings(project)
    assert (finding.state, finding.path) == ("current", project.root / "nets" / "train.py")


def test_a_deleted_file_is_gone_and_no_other_line_speaks_for_it(project: RunFactory) -> None:
    # The model is built in a file that stays.
    package = RunFactory(project.root, layers=("item_emb",))
    definitions = project.root / "models.py"
    shutil.copy(project.script, definitions)
    run = package.start()
    site = package.layer_site("item_emb")
    frames = [msgspec.structs.replace(site.frames[0], file=str(definitions)), site.frames[1]]
    run.watch_layers()
    run.diagnose("DEAD_EMBEDDINGS", "item_emb", site=SourceSite(frames=frames))
    run.end()
    assert [each.path for each in findings(project)] == [definitions]
    definitions.unlink()
    assert [(each.state, each.path) for each in findings(project)] == [("gone", definitions)]


def test_a_file_that_was_moved_and_edited_is_gone(trained: RunFactory) -> None:
    text = trained.script.read_text()
    trained.script.unlink()
    (trained.root / "new.py").write_text(text.replace("1000, 64", "1000, 32"))
    assert [each.state for each in findings(trained)] == ["gone"]


def test_of_two_copies_none_is_it(trained: RunFactory) -> None:
    for name in ("one.py", "two.py"):
        shutil.copy(trained.script, trained.root / name)
    trained.script.unlink()
    assert [each.state for each in findings(trained)] == ["gone"]


def test_a_copy_that_was_there_before_the_run_is_not_it(project: RunFactory) -> None:
    shutil.copy(project.script, project.root / "older.py")
    project.finished()
    project.script.unlink()
    assert [each.state for each in findings(project)] == ["gone"]


def test_the_file_of_another_run_is_not_it(trained: RunFactory) -> None:
    second = RunFactory(trained.root)
    second.script = trained.root / "other.py"
    shutil.copy(trained.script, second.script)
    second.start("20250101-000000-bbbbbb").watch_layers()
    trained.script.unlink()
    assert {each.state for each in findings(trained)} == {"gone"}


def test_while_the_file_is_there_no_other_is_looked_for(
    trained: RunFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: object) -> None:
        raise AssertionError("the tree was walked")

    monkeypatch.setattr("gradtracer_server.moved.folders_below", looked)
    assert [each.state for each in findings(trained)] == ["current"]
    trained.script.unlink()
    with pytest.raises(AssertionError, match="walked"):
        findings(trained)
