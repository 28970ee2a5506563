"""`gradtracer watch`: trainings as they go on, in a terminal; as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gradtracer_server.headless.output import note, say
from gradtracer_server.headless.paths import run_book
from gradtracer_server.render.card import outcome_sentence, progress_parts, sentence
from gradtracer_server.render.escape import clean
from gradtracer_server.render.numbers import count, sureness
from gradtracer_server.render.text import run_script
from gradtracer_server.runbook import RunBook
from gradtracer_server.runs import Run

_LOOK_SECONDS = 0.5


def watch(paths: Sequence[Path], *, once: bool = False, plain: bool = False) -> int:
    """Follow the runs until interrupted, or with `once` until one has ended.

    Returns 1 when that one failed or vanished, else 0.

    Raises:
        UsageError: a path does not exist.
    """
    book = run_book(paths)
    follower = Follower(book)
    if plain or not sys.stdout.isatty():
        return _lines(follower, once)
    return _screen(follower, once)


class Follower:
    """The runs that train now, and those that were seen to train."""

    def __init__(self, book: RunBook) -> None:
        self.book = book
        self._seen: dict[str, Run] = {}
        self._held: dict[str, set[str]] = {}
        self._steps: dict[str, int] = {}
        self._over: set[str] = set()

    @property
    def runs(self) -> list[Run]:
        """Live runs and the ones that ended meanwhile, the newest first."""
        return sorted(self._seen.values(), key=lambda run: run.order, reverse=True)

    @property
    def ended(self) -> Run | None:
        """A run that was live here and is over."""
        return next((run for run in self.runs if run.id in self._over), None)

    def look(self) -> list[str]:
        """Bring the runs up to date; a line for each thing that changed."""
        self.book.refresh()
        for run in self.book.live:
            self._seen.setdefault(run.id, run)
        return [line for run in reversed(self.runs) for line in self._news(run)]

    def _news(self, run: Run) -> Iterator[str]:
        if run.id in self._over:
            return
        name = clean(run_script(run), 120)
        if run.id not in self._held:
            yield f"{name}: run {clean(run.id, 80)} began, {count(len(run.layers))} layers watched"
        held = self._held.get(run.id, set())
        for diagnosis in run.diagnoses.values():
            if diagnosis.id not in held:
                yield (
                    f"{name}: {diagnosis.type} {clean(diagnosis.layer, 120)}: "
                    f"{clean(sentence(diagnosis.premise))} "
                    f"Confidence {sureness(diagnosis.confidence)}."
                )
        for gone in sorted(held - set(run.diagnoses)):
            yield f"{name}: {clean(gone.partition('@')[0], 200)} no longer holds"
        self._held[run.id] = set(run.diagnoses)
        if run.status != "live":
            self._over.add(run.id)
            yield f"{name}: {outcome_sentence(run)}"
        elif run.last_step != self._steps.get(run.id):
            self._steps[run.id] = run.last_step
            total = run.progress.total_steps if run.progress else None
            reached = f"{run.unit} {count(run.last_step)}{f' of {count(total)}' if total else ''}"
            yield f"{name}: {', '.join([reached, *progress_parts(run)])}"


def _lines(follower: Follower, once: bool) -> int:
    def show(lines: Sequence[str]) -> None:
        for line in lines:
            say(f"{time.strftime('%H:%M:%S')} {line}")
        sys.stdout.flush()

    show(follower.look())
    if not follower.runs:
        note("gradtracer: no training is running here: waiting for one; Ctrl-C ends this")
    return _follow(follower, once, show)


def _screen(follower: Follower, once: bool) -> int:
    from rich.console import Console
    from rich.live import Live

    from gradtracer_server.render.live_view import live_view

    with Live(live_view([]), console=Console(), auto_refresh=False) as live:
        return _follow(
            follower, once, lambda _: live.update(live_view(follower.runs), refresh=True)
        )


def _follow(follower: Follower, once: bool, show: Callable[[Sequence[str]], None]) -> int:
    try:
        while True:
            show(follower.look())
            ended = follower.ended
            if once and ended is not None:
                return 1 if ended.status in {"failed", "vanished"} else 0
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        return 0
