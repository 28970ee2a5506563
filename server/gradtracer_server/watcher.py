"""Keeps a run book current: looks for runs, follows the sockets of live ones.

Files are walked on a thread of its own; the book itself changes on the event loop alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from gradtracer_server.discovery import CONNECTION_NAME, HOME, find_runs, read_connection, searched
from gradtracer_server.earlier import EarlierRun, candidates, read_earlier
from gradtracer_server.runbook import RunBook
from gradtracer_server.subscriber import Subscriber

if TYPE_CHECKING:
    from gradtracer_schemas import Connection
    from gradtracer_server.journal import Record

logger = logging.getLogger(__name__)

_WALK_SHARE = 0.02
"""The walk of the tree may take this share of one core's time."""


class RunWatcher:
    """One run book, its poll and its subscriber."""

    def __init__(self, roots: Sequence[Path], changed: Callable[[], None]) -> None:
        """`changed`: called after each look and each batch of events, changed or not."""
        self.book = RunBook(roots)
        self.ready = False
        """Whether the book has been read once; before, only its thread may touch it."""
        self.interval = 1.0
        """Seconds between two looks."""
        self.allow_remote = False
        """Whether a connection file may point at another machine."""
        self.earlier: dict[Path, EarlierRun | None] = {}
        """By the folder of a run that speaks, the run of its script before it, once it is read."""
        self._changed = changed
        self._subscriber: Subscriber | None = None
        self._followed: dict[Path, Connection] = {}
        self._refused: dict[Path, int] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gradtracer-discovery")
        self._wake = asyncio.Event()
        self._homes: dict[Path, int] = {}
        self._walk_due = 0.0

    async def watch(self) -> None:
        """Poll until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._pool, self.book.refresh)
            self._homes = self._stamps()
            self.ready = True
            self._changed()
            while True:
                await self._follow_live_runs()
                await self._read_earlier_runs()
                await self._pause()
                await self._look()
                self._changed()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Look now rather than at the end of the interval."""
        self._walk_due = 0.0
        self._wake.set()

    def close(self) -> None:
        """Stop listening; ends the subscriber's thread."""
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), self.interval)
        except TimeoutError:
            pass
        self._wake.clear()

    async def _look(self) -> None:
        homes = self._stamps()
        if homes != self._homes or time.monotonic() >= self._walk_due:
            self._homes = homes
            began = time.monotonic()
            folders = await asyncio.get_running_loop().run_in_executor(
                self._pool, find_runs, self.book.roots
            )
            ended = time.monotonic()
            self._walk_due = ended + (ended - began) / _WALK_SHARE
            self.book.refresh(folders)
        else:
            for run in self.book.live:
                run.catch_up()
                run.check_process()

    def _stamps(self) -> dict[Path, int]:
        """When the folders that new runs usually appear in last changed."""
        homes = {home / HOME / "runs" for root in self.book.roots for home in searched(root)}
        homes |= {run.folder.parent for run in self.book.runs}
        return {home: _changed_at(home) for home in homes}

    async def _follow_live_runs(self) -> None:
        live = {run.folder for run in self.book.live}
        for folder in self._followed.keys() - live:
            del self._followed[folder]
            if self._subscriber is not None:
                self._subscriber.remove(folder)
        for folder in live - self._followed.keys():
            connection = self._connection(folder)
            if connection is None:
                continue
            self._followed[folder] = connection
            if self._subscriber is None:
                self._subscriber = Subscriber(self._on_thread(asyncio.get_running_loop()))
            # The first run to follow loads ZeroMQ: not on the loop.
            await asyncio.get_running_loop().run_in_executor(
                self._pool, self._subscriber.add, folder, connection
            )

    async def _read_earlier_runs(self) -> None:
        shown = self.book.shown()
        for folder in self.earlier.keys() - {run.folder for run in shown}:
            del self.earlier[folder]
        for run in shown:
            if run.folder not in self.earlier:
                self.earlier[run.folder] = await asyncio.get_running_loop().run_in_executor(
                    self._pool, read_earlier, candidates(run, self.book.runs)
                )

    def _connection(self, folder: Path) -> Connection | None:
        """How to reach a run; a file that cannot be used is complained of once."""
        stamp = _changed_at(folder / CONNECTION_NAME)
        if stamp == 0 or self._refused.get(folder) == stamp:
            return None
        connection = read_connection(folder, allow_remote=self.allow_remote)
        if connection is None:
            self._refused[folder] = stamp
        return connection

    def _on_thread(self, loop: asyncio.AbstractEventLoop) -> Callable[[Path, list[Record]], None]:
        def hand_over(folder: Path, records: list[Record]) -> None:
            try:
                loop.call_soon_threadsafe(self._take, folder, records)
            except RuntimeError:
                logger.debug("%s: %d events came after the end", folder.name, len(records))

        return hand_over

    def _take(self, folder: Path, records: list[Record]) -> None:
        if folder in self._followed and self.book.accept(folder, records):
            self._changed()


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
