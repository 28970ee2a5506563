"""Finds run folders around the workspace's roots: bounded, and following no links."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from gradtracer_schemas import Connection, ConnectionFileError, decode_connection
from gradtracer_server.exceptions import JournalUnreadable
from gradtracer_server.journal import open_regular

logger = logging.getLogger(__name__)

HOME = ".gradtracer"
CONNECTION_NAME = "connection.json"
MAX_RUNS = 50
MAX_DEPTH = 3
MAX_ANCESTORS = 5
MAX_FOLDERS = 5000
"""Folders looked into below one root, so that a huge tree costs little."""

_PASSED_OVER = {"node_modules", "__pycache__", "site-packages", "venv", "env", "build", "dist"}
_CONNECTION_BYTES = 1 << 16


def find_runs(roots: Iterable[Path]) -> list[Path]:
    """The newest run folders of the roots, of their ancestors up to the repository, and below."""
    return all_runs(roots, MAX_RUNS)[:MAX_RUNS]


def all_runs(roots: Iterable[Path], most: int | None = None) -> list[Path]:
    """As `find_runs`, without an end; or at most so many of each folder."""
    found: dict[Path, None] = {}
    for root in roots:
        absolute = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
        owners = _trusted_owners(absolute)
        for folder in (absolute, *_ancestors(absolute), *folders_below(absolute)):
            found.update(dict.fromkeys(_runs_of(folder, owners, most)))
    return sorted(found, key=lambda folder: folder.name, reverse=True)


def searched(root: Path) -> list[Path]:
    """The folders whose `.gradtracer/runs` is looked at for one root, those below it aside."""
    absolute = Path(os.path.abspath(root))  # noqa: PTH100
    return [absolute, *_ancestors(absolute)]


def read_connection(folder: Path, *, allow_remote: bool = False) -> Connection | None:
    """The connection file of a run; None when there is none or it must not be used."""
    path = folder / CONNECTION_NAME
    try:
        descriptor = open_regular(path)
    except JournalUnreadable:
        return None
    try:
        content = os.read(descriptor, _CONNECTION_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    try:
        connection = decode_connection(content, allow_remote=allow_remote)
    except ConnectionFileError as error:
        # Between creation and the end of the write the file is there and empty.
        if content:
            logger.warning("%s: %s", path, error)
        return None
    if connection.run != folder.name:
        logger.warning("%s: expected run %r, got %r", path, folder.name, connection.run)
        return None
    return connection


def _ancestors(root: Path) -> Iterator[Path]:
    folder = root
    for parent in list(root.parents)[:MAX_ANCESTORS]:
        if (folder / ".git").exists():
            return
        folder = parent
        yield parent


def folders_below(root: Path) -> Iterator[Path]:
    """The folders of a tree that may be a user's own, to a depth."""
    level = [root]
    budget = MAX_FOLDERS
    for _ in range(MAX_DEPTH):
        following: list[Path] = []
        for folder in level:
            following += _subfolders(folder)
            budget -= 1
            if budget <= 0 or len(following) > MAX_FOLDERS:
                logger.info("%s: more than %d folders, the rest not searched", root, MAX_FOLDERS)
                yield from following
                return
        yield from following
        level = following


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".")
                and entry.name not in _PASSED_OVER
                and entry.is_dir(follow_symlinks=False)
                and not Path(entry.path, "pyvenv.cfg").exists()
            ]
    except OSError:
        return []


def _runs_of(
    folder: Path, owners: frozenset[int] | None, most: int | None = MAX_RUNS
) -> list[Path]:
    runs = folder / HOME / "runs"
    if not (_is_ours(folder / HOME, owners) and _is_ours(runs, owners)):
        return []
    try:
        names = sorted(os.listdir(runs), reverse=True)  # noqa: PTH208 - names alone are wanted
    except OSError:
        return []
    # Half as many again as are wanted may be something else.
    newest = (runs / name for name in (names if most is None else names[: 2 * most]))
    return [run for run in newest if _is_ours(run, owners)][:most]


def _is_ours(folder: Path, owners: frozenset[int] | None) -> bool:
    """A real folder, not a link, that belongs to somebody this reader has reason to believe."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    if owners is not None and status.st_uid not in owners:
        logger.info("%s: not read, it belongs to another user (%d)", folder, status.st_uid)
        return False
    return True


def _trusted_owners(root: Path) -> frozenset[int] | None:
    """The user, root, and who owns the workspace: in a container these may be three."""
    if not hasattr(os, "getuid"):
        return None
    try:
        return frozenset({os.getuid(), 0, root.stat().st_uid})
    except OSError:
        return frozenset({os.getuid(), 0})
