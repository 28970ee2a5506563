"""Edits on disk: atomic, of the expected text alone, and never over what somebody else wrote."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gradtracer_server.exceptions import EditRefused
from gradtracer_server.fixes import application
from gradtracer_server.fixes.application import (
    ABANDONED_SECONDS,
    Change,
    Outcome,
    apply_changes,
    changes_of,
    digest,
    lock_path,
)
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.position import Position, Range
from patience import PATIENCE

INTERLEAVINGS = 1000
START = Range(Position(0, 0), Position(0, 0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text("x = 1\n", encoding="utf-8")
    return path


def insertion(path: Path, line: str) -> list[Change]:
    """A line before all others, of the text that the file has now."""
    return changes_of({path: [TextEdit(START, f"{line}\n")]}, Documents())


def test_edit_is_made_and_leaves_nothing_behind(file: Path) -> None:
    changes = insertion(file, "# new")
    expected = hashlib.sha256(b"x = 1\n").hexdigest()
    assert digest(changes) == expected
    assert apply_changes(changes, expected) == Outcome("applied")
    assert file.read_text() == "# new\nx = 1\n"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("text", ["a = 1\r\nb = 2\r\n", "\ufeffa = 1\n", "a = '\u7269 \U0001f9df'"])
def test_all_but_the_edit_stays_to_the_byte(file: Path, text: str) -> None:
    file.write_bytes(text.encode("utf-8"))
    end = Range(Position(99, 0), Position(99, 0))
    changes = changes_of({file: [TextEdit(end, "# end")]}, Documents())
    assert apply_changes(changes).state == "applied"
    assert file.read_bytes() == f"{text}# end".encode()


def test_rights_of_the_file_stay(file: Path) -> None:
    file.chmod(0o750)
    apply_changes(insertion(file, "# new"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o750


@pytest.mark.parametrize("given", ["0" * 64, "", "no digest"])
def test_another_digest_is_stale(file: Path, given: str) -> None:
    outcome = apply_changes(insertion(file, "# new"), given)
    assert outcome.state == "stale"
    assert "propose it anew" in outcome.reason
    assert file.read_text() == "x = 1\n"


def test_file_that_changed_since_is_stale(file: Path) -> None:
    changes = insertion(file, "# new")
    file.write_text("x = 2\n")
    outcome = apply_changes(changes, digest(changes))
    assert (outcome.state, file.read_text()) == ("stale", "x = 2\n")


def test_file_that_is_gone_is_stale(file: Path) -> None:
    changes = insertion(file, "# new")
    file.unlink()
    assert apply_changes(changes).state == "stale"
    assert not file.exists()
    with pytest.raises(EditRefused, match="expected a readable file"):
        insertion(file, "# new")


def test_read_only_file_is_a_conflict(file: Path) -> None:
    file.chmod(0o444)
    outcome = apply_changes(insertion(file, "# new"))
    assert outcome.state == "conflict"
    assert "read-only" in outcome.reason
    assert file.read_text() == "x = 1\n"


def test_somebody_elses_writing_is_a_conflict_until_it_is_abandoned(file: Path) -> None:
    lock = lock_path(file)
    lock.write_text("half")
    outcome = apply_changes(insertion(file, "# new"))
    assert outcome.state == "conflict"
    assert "somebody else is writing" in outcome.reason
    assert lock.read_text() == "half"
    long_ago = time.time() - ABANDONED_SECONDS - 1
    os.utime(lock, (long_ago, long_ago))
    assert apply_changes(insertion(file, "# new")).state == "applied"


def test_of_two_who_find_an_abandoned_lock_one_gets_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other had seen it abandoned before the first took it over: it must look again."""
    lock = lock_path(file)
    lock.write_text("half")
    long_ago = time.time() - ABANDONED_SECONDS - 1
    os.utime(lock, (long_ago, long_ago))
    seen = application._abandoned
    second: list[Outcome] = []

    def abandoned(path: Path) -> bool:
        found = seen(path)
        if not second:
            second.append(Outcome("stale"))
            second.append(apply_changes(insertion(file, "# second")))
        return found

    monkeypatch.setattr(application, "_abandoned", abandoned)
    first = apply_changes(insertion(file, "# first"))
    assert second[1].state == "applied"
    assert first.state == "conflict"
    assert file.read_text() == "# second\nx = 1\n"
    assert list(file.parent.iterdir()) == [file]


def test_lock_that_was_taken_over_meanwhile_is_left_to_its_holder(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_path(file)
    lock.write_text("half")
    answers = iter([True, False])
    monkeypatch.setattr(application, "_abandoned", lambda _: next(answers))
    assert apply_changes(insertion(file, "# new")).state == "conflict"
    assert lock.read_text() == "half"
    assert sorted(file.parent.iterdir()) == sorted([file, lock])


def test_what_somebody_wrote_since_is_not_taken_back(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = file.with_name("a.py")
    other.write_text("y = 1\n")
    changes = [*insertion(other, "# new"), *insertion(file, "# new")]
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if target == file:
            other.write_text("y = 2\n")
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(application.os, "replace", fail)
    assert apply_changes(changes).state == "conflict"
    assert other.read_text() == "y = 2\n"
    assert sorted(file.parent.iterdir()) == [other, file]


def test_several_files_are_written_all_or_none(file: Path) -> None:
    other = file.with_name("other.py")
    other.write_text("y = 1\n")
    edits = {path: [TextEdit(START, "# new\n")] for path in (other, file)}
    changes = changes_of(edits, Documents())
    listed = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n" for path in (other, file)
    )
    assert digest(changes) == hashlib.sha256(listed.encode()).hexdigest()
    other.chmod(0o444)
    assert apply_changes(changes, digest(changes)).state == "conflict"
    assert (file.read_text(), other.read_text()) == ("x = 1\n", "y = 1\n")
    other.chmod(0o644)
    assert apply_changes(changes, digest(changes)).state == "applied"
    assert file.read_text() == "# new\nx = 1\n"
    assert other.read_text() == "# new\ny = 1\n"


def test_replacement_that_fails_half_way_is_taken_back(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = file.with_name("a.py")
    other.write_text("y = 1\n")
    changes = [*insertion(other, "# new"), *insertion(file, "# new")]
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if target == file:
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(application.os, "replace", fail)
    outcome = apply_changes(changes)
    assert outcome == Outcome("conflict", f"{file}: No space left on device")
    assert other.read_text() == "y = 1\n"
    assert sorted(file.parent.iterdir()) == [other, file]


class Editor:
    """Saves its buffer as editors do: not over a file that has changed since it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.saved: list[str] = []
        self.read()

    def read(self) -> None:
        self.known = self.buffer = self.path.read_bytes()
        self.typed = ""

    def type(self, line: str) -> None:
        self.typed = line
        self.buffer += f"{line}\n".encode()

    def save(self) -> None:
        if not self.typed:
            return
        if self.path.read_bytes() != self.known:
            self.read()
            return
        self.path.write_bytes(self.buffer)
        self.known = self.buffer
        self.saved.append(self.typed)
        self.typed = ""


class Agent:
    """Proposes an edit, and applies it some time later with what it was told to expect."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.applied: list[str] = []
        self.states: list[str] = []
        self.proposed: tuple[str, list[Change], str] | None = None

    def propose(self) -> None:
        line = f"# {self.name} {len(self.states)}"
        changes = insertion(self.path, line)
        self.proposed = (line, changes, digest(changes))

    def apply(self) -> None:
        if self.proposed is None:
            return
        line, changes, expected = self.proposed
        self.proposed = None
        outcome = apply_changes(changes, expected)
        self.states.append(outcome.state)
        if outcome.state == "applied":
            self.applied.append(line)


def test_editor_and_agents_never_overwrite_each_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 interleavings of two agents and an editor, some within an agent's own writing."""
    states: set[str] = set()
    meanwhile: Callable[[], None] | None = None

    def fsync(_: int) -> None:
        nonlocal meanwhile
        if meanwhile is not None:
            act, meanwhile = meanwhile, None
            act()

    monkeypatch.setattr(application.os, "fsync", fsync)
    for seed in range(INTERLEAVINGS):
        drawn = random.Random(seed)
        file.write_text("x = 1\n")
        editor = Editor(file)
        one, two = Agent(file, "one"), Agent(file, "two")

        def typed_and_saved(editor: Editor = editor, seed: int = seed) -> None:
            editor.type(f"# typed {seed}.{len(editor.saved)}")
            editor.save()

        acts = [one.propose, one.apply, two.propose, two.apply, typed_and_saved, editor.read]
        for _ in range(10):
            if drawn.random() < 0.3:
                meanwhile = drawn.choice([typed_and_saved, two.apply])
            drawn.choice(acts)()
        meanwhile = None
        lines = file.read_text().splitlines()
        assert sorted(lines) == sorted(["x = 1", *editor.saved, *one.applied, *two.applied])
        states |= {*one.states, *two.states}
    assert states == {"applied", "stale", "conflict"}


def test_an_application_that_does_not_look_is_caught(file: Path) -> None:
    """The check above can fail: without an expectation to meet, lines are lost."""
    editor = Editor(file)
    (change,) = insertion(file, "# one")
    editor.type("# typed")
    editor.save()
    file.write_bytes(change.after)
    lines = file.read_text().splitlines()
    assert sorted(lines) != sorted(["x = 1", *editor.saved, "# one"])


def test_agents_at_once_lose_nothing(file: Path) -> None:
    """Real threads, each trying until all of its lines are in the file."""
    lines = [[f"# {agent}.{number}" for number in range(10)] for agent in range(4)]
    deadline = time.monotonic() + PATIENCE

    def work(own: list[str]) -> None:
        for line in own:
            while time.monotonic() < deadline:
                changes = insertion(file, line)
                if apply_changes(changes, digest(changes)).state == "applied":
                    break

    threads = [threading.Thread(target=work, args=(own,)) for own in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = sorted(["x = 1", *(line for own in lines for line in own)])
    assert sorted(file.read_text().splitlines()) == wanted
