"""One observed run: start, step, report, finish."""

from __future__ import annotations

import logging
import os
import platform
import socket
import sys
import threading
import time
import traceback
import weakref
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from gradtracer.callsite import call_site
from gradtracer.compiling import outside_graphs, when_compiling
from gradtracer.ending import end_with_process, failure_place, has_ended
from gradtracer.exceptions import UsageError
from gradtracer.learning_curve import Told
from gradtracer.project import main_script, new_run_id, project_root, runs_folder
from gradtracer.ranks import Ranks, place_among_ranks
from gradtracer.reporting import Reporting, Tracker
from gradtracer.settings import Settings, load_settings
from gradtracer.transport.connection_file import process_start_stamp
from gradtracer.transport.stream import EventStream
from gradtracer.version import __version__
from gradtracer_schemas import (
    Envelope,
    FailurePlace,
    LayerWatched,
    LayerWatchedEvent,
    ProbeFault,
    ProbeFaultEvent,
    RunEnded,
    RunOutcome,
    RunStarted,
    RunStartedEvent,
    SourceSite,
)

_log = logging.getLogger("gradtracer")


@runtime_checkable
class TakesLoss(Protocol):
    """A tracker that follows the loss of the training."""

    def take_loss(self, loss: Any) -> None:
        """A step's loss, in the training thread; never raises."""
        ...


@runtime_checkable
class CanAutoFix(Protocol):
    """A tracker of a table."""

    name: str

    def set_auto_fix(self, enabled: bool, *, reason: str) -> bool:
        """Turn it on or off; whether it will be so."""
        ...


class Run:
    """Observes until the process ends or `finish` is called.

    The training thread only sets attributes and puts events on a queue; a thread of the run's own
    (`reporting.py`) measures, writes and publishes.
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        script: Path | None = None,
        settings: Settings | None = None,
        watch_site: SourceSite | None = None,
        total_steps: int | None = None,
        automatic: bool = False,
    ) -> None:
        script = main_script() if script is None else script
        self.root = Path(root or project_root(script)).resolve()
        self.settings = load_settings(self.root) if settings is None else settings
        if self.settings.folder is not None:
            self.root = Path(self.settings.folder).resolve()
        self.id = new_run_id(time.time())
        self.step = 0
        self.watch_site = call_site() if watch_site is None else watch_site
        self.observing = self.settings.enabled and not _in_data_loader_worker()
        self.outcome: RunOutcome | None = None
        self.total_steps = total_steps
        self.automatic = automatic
        """Begun without a call in the user's code, which ends when such a call comes."""
        self.loss: Any = None
        self.metrics: dict[str, Any] = {}
        self.told: dict[str, Told] = {}
        """Every loss and metric that was told, by name, within bounds."""
        self.trackers: list[Tracker] = []
        self.observed: weakref.ref[Any] | None = None
        """The model that `watch` was last called with."""
        self._take_loss: list[TakesLoss] = []
        self._names: set[str] = set()
        self._no_numbers: set[str] = set()
        """Losses and metrics of which a value was none."""
        self._clock: weakref.ref[object] | None = None
        self._waiting: weakref.ref[object] | None = None
        self._forgotten = False
        self._finishing = threading.RLock()
        self._faulty = False
        self._stream: EventStream | None = None
        self._reporting: Reporting | None = None
        self.ranks = Ranks(self)
        if self.observing and place_among_ranks().rank == 0:
            self._begin(script)
        elif self.observing:
            self.ranks.answer()
            end_with_process(self)

    def _begin(self, script: Path | None) -> None:
        stream = EventStream(
            self.id,
            runs_folder(self.root) / self.id,
            rank=0,
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        self._stream = stream
        self.emit(
            RunStartedEvent,
            RunStarted(
                root=str(self.root),
                script=str(script) if script is not None else "-",
                argv=sys.argv[1:],
                pid=os.getpid(),
                host=socket.gethostname(),
                process_started=process_start_stamp(),
                versions={
                    "gradtracer": __version__,
                    "python": platform.python_version(),
                    "torch": str(getattr(sys.modules.get("torch"), "__version__", "")),
                },
                watch=self.watch_site,
                world_size=place_among_ranks().world_size,
            ),
        )
        self._reporting = Reporting(self, stream)
        end_with_process(self)

    @property
    def streams(self) -> bool:
        """Whether this process writes the run: rank 0 of however many."""
        return self._stream is not None

    # Called by trackers and users, from any thread.

    def emit(self, event_class: type[Envelope], body: msgspec.Struct) -> None:
        """Queue an event."""
        if self._stream is not None and not self._forgotten:
            self._stream.submit(event_class, body, self.step)

    def fault(self, layer: str, what: str) -> None:
        """Report the exception being handled: part of the probe has switched itself off.

        The first one is logged with its traceback; those of a model's other layers, which are
        mostly the same, go to the stream alone.
        """
        if not self._faulty:
            _log.exception("GradTracer %s: %s; training is not affected", layer or "run", what)
        self._faulty = True
        self.emit(
            ProbeFaultEvent,
            ProbeFault(
                layer=layer,
                message=f"{what}; training is not affected",
                traceback=traceback.format_exc()[-4_000:],
            ),
        )

    def attach(self, tracker: Tracker, declaration: LayerWatched) -> None:
        """Report on `tracker` from now on."""
        self.trackers.append(tracker)
        if isinstance(tracker, TakesLoss):
            self._take_loss.append(tracker)
        self.emit(LayerWatchedEvent, declaration)

    def unique_layer_name(self, name: str) -> str:
        """`name`, or with a number where this run has it already."""
        unique, number = name, 2
        while unique in self._names:
            unique, number = f"{name}_{number}", number + 1
        self._names.add(unique)
        return unique

    def stepped(self, source: object) -> None:
        """An optimizer stepped, or a tracker was told of a step made by hand.

        The first source is the run's clock. Another takes over when it steps twice while the clock
        stands still: a second phase of training, or the quicker of two optimizers.
        """
        clock = self._clock() if self._clock is not None else None
        if clock is source:
            self._waiting = None
        elif clock is None or (self._waiting is not None and self._waiting() is source):
            self._clock, self._waiting = weakref.ref(source), None
        else:
            self._waiting = weakref.ref(source)
            return
        self.step += 1

    def log(self, loss: Any = None, **metrics: Any) -> None:
        """Show loss and metrics beside the progress.

        Numbers or tensors of one element; the loss may also have one for each example of the step,
        and its mean is shown. They are read by the reporting thread, so that the training never
        waits for the device; only the latest before a report is shown. The loss, and the first
        metric of held-out examples (`validation_loss`, `val_auc`, `ndcg_at_10`), tell of a rate
        that is too high, of decay that is missing, and of a run that is too short; auto-fix waits
        while the loss improves.
        """
        if loss is not None and self._is_number("loss", loss):
            loss = _detached(loss)
            for tracker in self._take_loss:
                tracker.take_loss(loss)
            self.loss = self._tell("loss", loss.mean() if getattr(loss, "ndim", 0) else loss)
        for name, value in metrics.items():
            if self._is_number(name, value):
                self.metrics[name] = self._tell(name, value)

    def _is_number(self, name: str, value: Any) -> bool:
        """Said once for each name, and never an error: the training goes on."""
        if hasattr(value, "__float__"):
            return True
        if name not in self._no_numbers:
            self._no_numbers.add(name)
            _log.warning(
                "expected %s as a number or a tensor, got %.40r, which is left out; call e.g. "
                "run.log(loss=loss, val_auc=0.71)",
                name,
                value,
            )
        return False

    def _tell(self, name: str, value: Any) -> Any:
        value = _detached(value)
        self.told.setdefault(name, Told()).add(self.step, value)
        return value

    def set_auto_fix(self, enabled: bool, layer: str | None = None, *, reason: str) -> list[str]:
        """Turn auto-fix on or off from the next step on, for one table or for all; from any thread.

        `reason` stands in the stream and in the audit. Returns the tables that it will be so for.

        Raises:
            UsageError: no table of that name is observed.
        """
        tables = {each.name: each for each in self.trackers if isinstance(each, CanAutoFix)}
        if layer is not None and layer not in tables:
            known = ", ".join(tables) or "none"
            raise UsageError(f"expected the name of an observed table, got {layer!r}: {known}")
        chosen = tables if layer is None else {layer: tables[layer]}
        return [name for name, each in chosen.items() if each.set_auto_fix(enabled, reason=reason)]

    def flush(self, timeout: float = 30.0) -> bool:
        """Report now and wait until it is written. False when that took longer than `timeout`."""
        return self._reporting is not None and self._reporting.flush(timeout)

    def finish(
        self,
        outcome: RunOutcome = "finished",
        reason: str = "",
        failure: FailurePlace | None = None,
    ) -> None:
        """End the run: last report, goodbye, everything closed.

        A second call does nothing but wait until a first one in another thread is done: who ends
        the process would cut that off.
        """
        if self._forgotten:
            return
        with self._finishing:
            if self.outcome is not None:
                return
            self.outcome = outcome
            self.ranks.end()
            if self._reporting is not None:
                self._reporting.end(RunEnded(outcome=outcome, reason=reason, failure=failure))
            for tracker in self.trackers:
                tracker.detach()
            has_ended(self)

    def forget(self) -> None:
        """Become inert without touching anything shared: this is a forked child."""
        self._forgotten = True
        self.observing = False
        for tracker in self.trackers:
            tracker.forget()

    def __repr__(self) -> str:
        """Id, steps, number of watched layers, and how it ended."""
        state = self.outcome or ("running" if self.observing else "switched off")
        return f"<Run {self.id}: {state}, step {self.step}, {len(self.trackers)} trackers>"

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        from gradtracer.notebook import run_html

        return run_html(self)

    def __enter__(self) -> Run:
        """Use as a context: the run ends with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, KeyboardInterrupt):
            self.finish("interrupted", "KeyboardInterrupt")
        else:
            place = failure_place(error, error.__traceback__)
            self.finish("failed", f"{place.exception}: {place.message[:200]}", place)


def _keep_out_of_graphs() -> None:
    Run.log = outside_graphs(Run.log)


when_compiling(_keep_out_of_graphs)

_current: Run | None = None


def current_run() -> Run:
    """The process's run that is still open, or a new one."""
    global _current
    if _current is None or _current.outcome is not None:
        _current = Run()
    return _current


def begin_run(run: Run) -> Run:
    """Make `run` the process's current one."""
    global _current
    _current = run
    return run


def open_run() -> Run | None:
    """The process's run, if one is open."""
    return _current if _current is not None and _current.outcome is None else None


def ever_begun() -> bool:
    """Whether this process has had a run."""
    return _current is not None


def _detached(value: Any) -> Any:
    return value.detach() if hasattr(value, "detach") else value


def _in_data_loader_worker() -> bool:
    loader = sys.modules.get("torch.utils.data")
    return loader is not None and loader.get_worker_info() is not None
