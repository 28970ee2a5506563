"""Makes edits on disk: whole files, atomically, and only of the very text they were worked out on.

Command line and agents write through this; an editor edits its own buffer instead. A file that has
changed since is left alone: the answer is `stale`, or `conflict` where it changed under the hand.
Between the last look at a file and its replacement lie some microseconds in which a program that
does not ask for our lock could still write; no file system offers a compare-and-swap.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradtracer_server.exceptions import EditRefused
from gradtracer_server.fixes.proposal import Edits
from gradtracer_server.source.documents import Documents
from gradtracer_server.source.notebooks import file_of

State = Literal["applied", "stale", "conflict"]
"""`stale`: a text is not the expected one; `conflict`: it cannot be written, or not just now."""

ABANDONED_SECONDS = 60.0
"""A lock older than this was left by a process that died."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file before and after."""

    path: Path
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an application."""

    state: State
    reason: str = ""
    """Why it was not applied."""


STALE = Outcome("stale", "the text has changed since the fix was proposed: propose it anew")


def changes_of(edits: Edits, documents: Documents) -> list[Change]:
    """The files that edits change, with their texts before and after.

    Raises:
        EditRefused: a file cannot be read any more.
        EditConflict: two edits overlap.
    """
    changes: dict[Path, Change] = {}
    for path, made in sorted(edits.items()):
        file, _ = file_of(path)
        known = changes.get(file)
        content = None if known is None else known.after.decode("utf-8")
        rewritten = documents.rewritten(path, made, content)
        if rewritten is None:
            raise EditRefused(f"{path}: expected a readable file of UTF-8, there is none any more")
        _, before, after = rewritten
        if after != before:
            changes[file] = Change(file, _bytes(before), _bytes(after))
    return list(changes.values())


def digest(changes: Iterable[Change], *, after: bool = False) -> str:
    """What an application expects: the sha256 of the file; of several, that of their sha256 list.

    The list has a line `SHA256  PATH` for each file in the order of the paths, as `sha256sum`
    prints it. `after`: of the files as the changes leave them.
    """
    sums = [
        (hashlib.sha256(each.after if after else each.before).hexdigest(), each.path)
        for each in changes
    ]
    if len(sums) == 1:
        return sums[0][0]
    listed = "".join(f"{sha256}  {path}\n" for sha256, path in sums)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()


def as_expected(changes: Iterable[Change], expect_sha256: str | None) -> bool:
    """Whether the changes start from the text of which `digest` said this; None takes any."""
    return expect_sha256 is None or digest(changes) == expect_sha256.strip().lower()


def apply_changes(changes: Sequence[Change], expect_sha256: str | None = None) -> Outcome:
    """Write all files or none; each must hold on disk what the change starts from.

    `expect_sha256`: what `digest` said when the change was proposed; None to take the changes as
    they are.
    """
    if not as_expected(changes, expect_sha256):
        return STALE
    for change in changes:
        if (now := _content(change.path)) != change.before:
            what = "is gone" if now is None else "has changed on disk"
            return Outcome("stale", f"{change.path} {what}")
        if not _writable(change.path):
            return Outcome("conflict", f"{change.path} is read-only")
    pending: dict[Path, Path] = {}
    try:
        for change in changes:
            pending[change.path] = _written_beside(change.path, change.after)
        return _swap(changes, pending)
    except FileExistsError as error:
        return Outcome("conflict", f"{error.filename} is there: somebody else is writing")
    except OSError as error:
        return Outcome("conflict", f"{error.filename}: {error.strerror or error}")
    finally:
        for new in pending.values():
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)


def lock_path(path: Path) -> Path:
    """The new text of a file is written here first; while it is there, nobody else writes."""
    return path.with_name(f".{path.name}.gradtracer")


def _swap(changes: Sequence[Change], pending: dict[Path, Path]) -> Outcome:
    """Put the new files in place, once none of the old ones has changed meanwhile.

    One that is in place leaves `pending`: its name may be another writer's lock from then on.
    """
    for change in changes:
        if _content(change.path) != change.before:
            return Outcome("conflict", f"{change.path} was written by somebody else just now")
    done: list[Change] = []
    try:
        for change in changes:
            os.replace(pending[change.path], change.path)  # noqa: PTH105 - atomic, over a file
            del pending[change.path]
            done.append(change)
    except OSError:
        for change in done:
            _take_back(change)
        raise
    return Outcome("applied")


def _take_back(change: Change) -> None:
    """Restore a file, unless somebody has written it, or is about to, since it was put in place."""
    with contextlib.suppress(OSError):
        old = _written_beside(change.path, change.before)
        try:
            if _content(change.path) == change.after:
                os.replace(old, change.path)  # noqa: PTH105 - atomic, over a file
        finally:
            old.unlink(missing_ok=True)


def _written_beside(path: Path, content: bytes) -> Path:
    """A new file with the content, on disk for good, with the rights of the old one."""
    new = lock_path(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(new, flags, 0o600)
    except FileExistsError:
        if not _abandoned(new):
            raise
        descriptor = _taken_over(new, flags)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        status = path.stat()
        new.chmod(stat.S_IMODE(status.st_mode))
        if hasattr(os, "chown"):
            with contextlib.suppress(PermissionError):
                os.chown(new, status.st_uid, status.st_gid)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return new


def _taken_over(lock: Path, flags: int) -> int:
    """The abandoned lock as one's own; of several who find it, one gets it.

    Who finds it looks again when nobody else can be taking it over: what was abandoned a moment ago
    may be another's by now.
    """
    turn = lock.with_name(f"{lock.name}.turn")
    os.close(os.open(turn, flags, 0o600))
    try:
        if _abandoned(lock):
            lock.unlink(missing_ok=True)
        return os.open(lock, flags, 0o600)
    finally:
        turn.unlink(missing_ok=True)


def _abandoned(lock: Path) -> bool:
    """Whether nobody holds a lock any more; one that has just gone may be taken anew by others."""
    try:
        return time.time() - lock.lstat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _writable(path: Path) -> bool:
    """Whether the file's own bits allow it: replacing it would need only those of the folder."""
    try:
        return bool(path.stat().st_mode & 0o222) and os.access(path, os.W_OK)
    except OSError:
        return False


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
