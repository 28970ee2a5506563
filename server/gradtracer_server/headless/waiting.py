"""Waits until the runs have something new to say."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from gradtracer_server.headless.baseline import find_run
from gradtracer_server.runbook import RunBook
from gradtracer_server.runs import Run

LONGEST_SECONDS = 600.0
_LOOK_SECONDS = 0.25


async def wait_until(
    book: RunBook,
    pause: Callable[[float], Awaitable[None]],
    *,
    run: str | None = None,
    seq: int | None = None,
    ended: bool = False,
    timeout_seconds: float = 60.0,
) -> dict[str, Any]:
    """What became true first: `seq`, `changed`, `ended` or `timeout`, and how things stand then.

    Args:
        book: the runs.
        pause: sleeps without holding up others.
        run: the run that is meant; without, the newest, and one that begins meanwhile.
        seq: the sequence number to reach.
        ended: wait for the end of the run that is named; without, of one that is live or begins
            meanwhile. Changes do not count.
        timeout_seconds: at most 600.
    """
    deadline = time.monotonic() + max(0.0, min(timeout_seconds, LONGEST_SECONDS))
    _read(book)
    _meant(book, run)
    before = {each.id: set(each.diagnoses) for each in book.runs}
    live = {each.id for each in book.runs if each.status == "live"}
    while True:
        speaking = _meant(book, run)
        known = before.get(speaking.id, set[str]()) if speaking is not None else set[str]()
        reason = _reason(speaking, before, live, seq, ended, named=run is not None)
        if reason is None and time.monotonic() >= deadline:
            reason = "timeout"
        if reason is not None:
            return {"reason": reason, **_state(speaking, known)}
        await pause(_LOOK_SECONDS)
        _read(book)


def _read(book: RunBook) -> None:
    book.refresh()
    for run in book.shown()[:1]:
        run.catch_up()


def _meant(book: RunBook, name: str | None) -> Run | None:
    if name is not None:
        run = find_run(name, book.runs)
        run.catch_up()
        return run
    return next((run for run in book.runs if not run.unreadable), None)


def _reason(
    run: Run | None,
    before: dict[str, set[str]],
    live: set[str],
    seq: int | None,
    ended: bool,
    *,
    named: bool,
) -> str | None:
    if run is None:
        return None
    begun = run.id not in before
    if ended:
        awaited = named or begun or run.id in live
        return "ended" if awaited and run.status != "live" else None
    if seq is not None and run.seq >= seq:
        return "seq"
    if set(run.diagnoses) != before.get(run.id, set()):
        return "changed"
    return "ended" if run.status != "live" and run.id in live else None


def _state(run: Run | None, known: set[str]) -> dict[str, Any]:
    if run is None:
        return {"run": None, "note": "there is no run yet"}
    return {
        "run": run.id,
        "status": run.status,
        "seq": run.seq,
        "step": run.last_step,
        "diagnoses": sorted(run.diagnoses),
        "raised": sorted(set(run.diagnoses) - known),
        "cleared": sorted(known - set(run.diagnoses)),
    }
