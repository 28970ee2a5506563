"""gradtracer/runs and its kin: what an editor's list of runs and its charts are made of.

None of these is a part of the language server's protocol: a client that knows nothing of them is
never sent one. PROTOCOL.md has their fields.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from gradtracer_server.locations import path_of

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer
    from gradtracer_server.runs import Run

RUNS = "gradtracer/runs"
RUN = "gradtracer/run"
LAYER_SERIES = "gradtracer/layerSeries"
STATISTIC = "gradtracer/statistic"
PLACE = "gradtracer/place"
FOLLOW = "gradtracer/follow"
RUNS_CHANGED = "gradtracer/runsChanged"

NOTIFY_SECONDS = 0.25
"""A client is told of changes no more often."""
_KEPT_RUNS = 8
"""How many runs that are over stay in memory, when they were asked about."""


class RunFeed:
    """Tells a client that asked for runs when they change, and keeps the old runs it looks at."""

    def __init__(self, ls: GradTracerServer) -> None:
        self._ls = ls
        self._wanted = False
        self._told: tuple[int, frozenset[Path]] = (-1, frozenset())
        self._last = 0.0
        self._due: asyncio.TimerHandle | None = None
        self._read: OrderedDict[Path, Run] = OrderedDict()

    def want(self) -> None:
        """The client has asked once: it is told from now on."""
        self._wanted = True

    def renewed(self) -> None:
        """Something may have changed."""
        session = self._ls.session
        if session is None or not self._wanted or self._due is not None:
            return
        state = session.watcher.book.revision, frozenset(session.unfollowed)
        if not session.watcher.ready or state == self._told:
            return
        self._told = state
        wait = max(0.0, self._last + NOTIFY_SECONDS - time.monotonic())
        self._due = asyncio.get_running_loop().call_later(wait, self._tell)

    def stop(self) -> None:
        """Tell nothing any more."""
        self._wanted = False
        if self._due is not None:
            self._due.cancel()

    async def run(self, params: Any) -> Run | None:
        """The run that a client names, read to its end; None for what is no run of the workspace.

        One that is over and was never read is read on another thread, beside the book.
        """
        session, folder = self._ls.session, path_of(str(getattr(params, "folder", "")))
        if session is None or folder is None or not session.watcher.ready:
            return None
        known = session.watcher.book.get(folder)
        if known is None or known.read:
            return known
        if folder not in self._read:
            self._read[folder] = await asyncio.to_thread(_read, folder)
            while len(self._read) > _KEPT_RUNS:
                self._read.popitem(last=False)
        self._read.move_to_end(folder)
        return self._read[folder]

    def _tell(self) -> None:
        self._due, self._last = None, time.monotonic()
        if self._wanted and self._ls.session is not None:
            self._ls.protocol.notify(RUNS_CHANGED, {})
            self.renewed()


def runs(ls: GradTracerServer, params: Any) -> dict[str, Any]:
    """Every run of the workspace, the newest first; from now on the client hears of changes."""
    from gradtracer_server.render.run_json import run_summary

    ls.life.runs.want()
    if ls.session is None or not ls.session.watcher.ready:
        return {"runs": [], "ready": False}
    unfollowed = ls.session.unfollowed
    known = ls.session.watcher.book.runs
    told = [run_summary(run, following=run.folder not in unfollowed) for run in known]
    return {"runs": told, "ready": True}


async def run(ls: GradTracerServer, params: Any) -> dict[str, Any] | None:
    """One run with its layers and diagnoses; null when it is gone."""
    from gradtracer_server.render.run_json import run_detail

    found = await ls.life.runs.run(params)
    if found is None or ls.session is None:
        return None
    following = found.folder not in ls.session.unfollowed
    return run_detail(found, following=following, values=bool(getattr(params, "values", False)))


async def layer_series(ls: GradTracerServer, params: Any) -> dict[str, Any] | None:
    """The figures of one layer over the run; null when there is no such layer."""
    from gradtracer_server.render.run_json import layer_series as told

    found = await ls.life.runs.run(params)
    return None if found is None else told(found, str(getattr(params, "layer", "")))


async def statistic(ls: GradTracerServer, params: Any) -> dict[str, Any] | None:
    """One statistic of every layer over the run."""
    from gradtracer_server.render.run_json import statistic_series

    found = await ls.life.runs.run(params)
    return None if found is None else statistic_series(found, str(getattr(params, "statistic", "")))


async def place(ls: GradTracerServer, params: Any) -> types.Location | None:
    """Where the text defines a layer now; null when no file of the workspace does."""
    from gradtracer_server.findings import resolve_site

    found, session = await ls.life.runs.run(params), ls.session
    state = found.layers.get(str(getattr(params, "layer", ""))) if found is not None else None
    if found is None or state is None or session is None:
        return None
    for frame in resolve_site(state.watched.site, found, session.documents, session.workspace):
        if frame.anchor.range is not None:
            shown = ls.units.range_to_client(frame.source.lines, frame.anchor.range)
            return types.Location(uri=ls.uri_of(frame.path), range=shown)
    return None


def follow(ls: GradTracerServer, params: Any) -> bool:
    """Let a run speak in the text, or not; whether there is such a run."""
    folder = path_of(str(getattr(params, "folder", "")))
    session = ls.session
    if session is None or folder is None or session.watcher.book.get(folder) is None:
        return False
    session.follow(folder, bool(getattr(params, "follow", True)))
    return True


def _read(folder: Path) -> Run:
    from gradtracer_server.runs import Run

    found = Run(folder)
    found.peek()
    found.catch_up()
    found.check_process()
    return found
