"""The thread of a run: measures at intervals, writes and publishes what the others queued."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gradtracer.controlling import Controlling
from gradtracer.giving_up import ended
from gradtracer.transport.stream import EventStream
from gradtracer_schemas import Progress, ProgressEvent, RunEnded, RunEndedEvent

if TYPE_CHECKING:
    from gradtracer.run import Run

_log = logging.getLogger("gradtracer")

_TICK_SECONDS = 0.1
_FINISH_SECONDS = 20.0
_AGE_SHARE = 1 / 200
_ASKED_COST = 10


class Tracker(Protocol):
    """A tracker, as its run sees it."""

    name: str

    def publish(self, *, final: bool = False) -> None:
        """Measure and emit; in the run's thread."""
        ...

    def forget(self) -> None:
        """Become inert: a forked child."""
        ...

    def detach(self) -> None:
        """Stop observing."""
        ...


class Reporting:
    """A daemon thread, so that it never keeps the user's program alive."""

    def __init__(self, run: Run, stream: EventStream) -> None:
        self._run = run
        self._stream = stream
        self._controlling = Controlling(run)
        self._ending: RunEnded | None = None
        self._requests: list[threading.Event] = []
        self._began = self._last_time = time.monotonic()
        self._last_step = 0
        self._thread = threading.Thread(target=self._work, name="gradtracer", daemon=True)
        self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Report now; whether it was written within `timeout` seconds."""
        if not self._thread.is_alive():
            return False
        done = threading.Event()
        self._requests.append(done)
        self._stream.wake()
        return done.wait(timeout)

    def end(self, ending: RunEnded) -> None:
        """Report for the last time, say goodbye, and close; waits for it, within limits."""
        self._ending = ending
        self._stream.wake()
        if not ended(self._thread, _FINISH_SECONDS):
            _log.warning(
                "the last report is given up: it took %.0f s of computing, or stood still for as "
                "long",
                _FINISH_SECONDS,
            )

    def _work(self) -> None:
        settings = self._run.settings
        self._stream.open(publish=settings.publish, control=settings.control)
        try:
            self._report_until_end()
        except Exception:
            self._run.fault("", "reporting stopped")
        finally:
            while self._ending is None:
                self._turn()
            self._stream.drain(0)
            goodbye = msgspec.structs.replace(self._ending, lost=self._stream.lost)
            self._run.emit(RunEndedEvent, goodbye)
            self._stream.close()

    def _turn(self) -> None:
        """Write what was queued, and answer what was asked."""
        self._stream.drain(_TICK_SECONDS)
        self._stream.serve(self._controlling.carry_out, self._run.step)

    def _report_until_end(self) -> None:
        settings = self._run.settings
        due = soonest = self._began + settings.report_seconds
        while self._ending is None:
            self._turn()
            requests, self._requests = self._requests, []
            now = time.monotonic()
            if self._controlling.wants_report:
                due, self._controlling.wants_report = min(due, soonest), False
            if now < due and not requests:
                continue
            # Waiting for other ranks is no work of ours: it does not count as cost.
            self._run.ranks.collect()
            now = time.monotonic()
            self._report(final=False)
            self._stream.drain(0)
            for done in requests:
                done.set()
            cost = time.monotonic() - now
            # One that is asked for comes early, and still leaves the processor to the training.
            soonest = time.monotonic() + max(settings.report_seconds, _ASKED_COST * cost)
            due = time.monotonic() + max(
                settings.report_seconds,
                (now - self._began) * _AGE_SHARE,
                cost / settings.report_share,
            )
        self._run.ranks.collect(final=True)
        self._report(final=True)

    def _report(self, *, final: bool) -> None:
        self._run.emit(ProgressEvent, self._progress())
        for tracker in list(self._run.trackers):
            try:
                tracker.publish(final=final)
            except Exception:
                self._run.trackers.remove(tracker)
                self._run.fault(tracker.name, "stopped reporting")

    def _progress(self) -> Progress:
        run, now, step = self._run, time.monotonic(), self._run.step
        elapsed, steps = now - self._last_time, step - self._last_step
        self._last_time, self._last_step = now, step
        metrics = {name: _number(value) for name, value in dict(run.metrics).items()}
        return Progress(
            step=step,
            total_steps=run.total_steps,
            steps_per_second=steps / elapsed if elapsed > 0 and steps > 0 else None,
            loss=_number(run.loss),
            metrics={name: value for name, value in metrics.items() if value is not None},
        )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return number if math.isfinite(number) else None
