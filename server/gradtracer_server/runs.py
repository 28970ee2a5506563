"""One observed run as its events tell it: status, layers, diagnoses that hold, progress."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gradtracer_schemas import (
    ControlEvent,
    Diagnosis,
    DiagnosisClearedEvent,
    DiagnosisRaisedEvent,
    DiagnosisUpdatedEvent,
    Event,
    FrameError,
    InterventionEvent,
    LayerWatched,
    LayerWatchedEvent,
    Observation,
    ObservationEvent,
    ProbeFault,
    ProbeFaultEvent,
    Progress,
    ProgressEvent,
    Recipe,
    RecipeEvent,
    RunEnded,
    RunEndedEvent,
    RunStarted,
    RunStartedEvent,
    VersionMismatch,
)
from gradtracer_server.exceptions import JournalUnreadable
from gradtracer_server.history import History, points_for
from gradtracer_server.journal import (
    JOURNAL_NAME,
    JournalReader,
    Record,
    Skipped,
    first_record,
    last_record,
)
from gradtracer_server.liveness import process_alive

RunStatus = Literal["live", "finished", "interrupted", "failed", "vanished", "unreadable"]
"""`vanished`: the process is gone and said no goodbye; `unreadable`: no event could be read."""

SILENCE_SECONDS = 60.0
"""How long a run whose process cannot be looked at counts as live after its last write."""

_KEPT_INTERVENTIONS = 1000
_KEPT_FAULTS = 100
_KEPT_CONTROLS = 100


@dataclass(slots=True)
class LayerState:
    """A watched layer and its latest figures."""

    watched: LayerWatched
    observation: Observation | None = None
    observed_step: int | None = None
    """Training step of `observation`."""
    history: History = field(default_factory=History)
    """Its figures since the run began."""


class Run:
    """State of the run in one folder, built from its journal and its socket alike."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self.journal = JournalReader(folder / JOURNAL_NAME)
        self.revision = 0
        """Grows with each change that a reader could see."""
        self.foreign = 0
        """Records of another run or rank that were passed over."""
        self._damage = ""
        self._other_protocol = ""
        self._forget()

    def _forget(self) -> None:
        self.started: RunStarted | None = None
        self.started_at: float | None = None
        """Of a run whose start cannot be read: when its first readable event was made."""
        self.ended: RunEnded | None = None
        self.ended_at: float | None = None
        self.progress: Progress | None = None
        self.learning = History()
        """Loss and metrics since the run began."""
        self.layers: dict[str, LayerState] = {}
        self.diagnoses: dict[str, Diagnosis] = {}
        self.interventions: deque[InterventionEvent] = deque(maxlen=_KEPT_INTERVENTIONS)
        self.controls: deque[ControlEvent] = deque(maxlen=_KEPT_CONTROLS)
        """Settings that were changed while it went on, the last ones."""
        self.faults: deque[ProbeFault] = deque(maxlen=_KEPT_FAULTS)
        self.recipe: Recipe | None = None
        self.seq = -1
        """Last sequence number applied; -1 before the first."""
        self.step = 0
        """Training step of the last event."""
        self.gaps = 0
        """Events that are known to be missing and cannot be read anywhere."""
        self._vanished = False

    @property
    def status(self) -> RunStatus:
        """How the run stands, by its events and the last `check_process`."""
        if self.unreadable:
            return "unreadable"
        if self.ended is not None:
            return self.ended.outcome
        return "vanished" if self._vanished else "live"

    @property
    def unreadable(self) -> str:
        """Why nothing is known of the run; empty once any event of it could be read."""
        known = self.read or self.started is not None
        return self._other_protocol or ("" if known else self._damage)

    @property
    def root(self) -> Path:
        """The folder that holds `.gradtracer` now; `started.root` is where it was in training."""
        return self.folder.parent.parent.parent

    @property
    def order(self) -> tuple[float, str]:
        """Sort key, by the start: ids tell it to the second, and only by the writer's word."""
        began = self._written_at() if self.started_at is None else self.started_at
        return began, self.id

    @property
    def last_step(self) -> int:
        """The furthest training step that the run told of."""
        return max(self.step, self.progress.step if self.progress else 0)

    @property
    def unit(self) -> str:
        """What the run counts: `round` where all that is watched is boosted, else `step`."""
        # What has no weight is a training call.
        boosted = [not layer.watched.shape for layer in self.layers.values()]
        return "round" if boosted and all(boosted) else "step"

    @property
    def problems(self) -> int:
        """Journal lines that could not be read."""
        return self.journal.problems

    @property
    def observed(self) -> bool:
        """Whether the run has figures of a layer, or has ended and so will have no more."""
        return self.ended is not None or any(s.observation for s in self.layers.values())

    @property
    def read(self) -> bool:
        """Whether the journal was read, and not only its first and last line."""
        return self.seq >= 0

    def peek(self) -> bool:
        """Learn the start and the end from the journal's first and last line; is it a run's?

        Where the first line is damaged, the others tell what they can.
        """
        first = first_record(self.journal.path)
        if isinstance(first, VersionMismatch):
            self._other_protocol = (
                f"written by protocol {first.protocol}: "
                "update gradtracer in the environment of the editor or of the training"
            )
            return True
        if isinstance(first, FrameError):
            self._damage = "its journal cannot be read from the start"
            self.catch_up()
            return True
        if not isinstance(first, RunStartedEvent) or first.run != self.id:
            return False
        self.started, self.started_at = first.body, first.time
        last = last_record(self.journal.path)
        if isinstance(last, RunEndedEvent) and last.run == self.id:
            self.ended, self.ended_at, self.step = last.body, last.time, last.step
        return True

    def accept(self, record: Record) -> bool:
        """Apply the next record; False when records before it are missing: call `catch_up`."""
        if record.seq > self.seq + 1:
            return False
        if record.seq == self.seq + 1:
            self._apply(record)
        return True

    def accept_all(self, records: list[Record]) -> None:
        """Apply records from the socket; fills gaps from the journal, or else counts them."""
        for record in records:
            if self.accept(record):
                continue
            self.catch_up()
            if not self.accept(record):
                self.gaps += record.seq - self.seq - 1
                self._apply(record)

    def catch_up(self) -> bool:
        """Apply what the journal has beyond `seq`; whether it could be read."""
        if self._other_protocol:
            return False
        generation = self.journal.generation
        try:
            for batch in self.journal.batches():
                if self.journal.generation != generation:
                    generation = self.journal.generation
                    self._forget()
                    self.revision += 1
                for record in batch:
                    if record.seq > self.seq:
                        self.gaps += record.seq - self.seq - 1
                        self._apply(record)
        except JournalUnreadable:
            return False
        return True

    def check_process(self, alive: Callable[[int, str], bool | None] = process_alive) -> bool:
        """Look whether the writing process still lives; whether the status changed by it."""
        if self.ended is not None:
            return False
        before = self._vanished
        if self.started is None or self.started.host != socket.gethostname():
            answer = None
        else:
            answer = alive(self.started.pid, self.started.process_started)
        self._vanished = not (self._written_lately() if answer is None else answer)
        # It may have said goodbye between the last reading and its death.
        if self._vanished and not before and self.read:
            self.catch_up()
        changed = self._vanished != before
        self.revision += changed
        return changed

    def _written_lately(self) -> bool:
        return time.time() - self._written_at() < SILENCE_SECONDS

    def _written_at(self) -> float:
        try:
            return self.journal.path.lstat().st_mtime
        except OSError:
            return 0.0

    def _apply(self, record: Record) -> None:
        self.seq = record.seq
        if isinstance(record, Skipped):
            return
        if record.run != self.id or record.rank != 0:
            self.foreign += 1
            return
        self.step = max(self.step, record.step)
        if self.started_at is None:
            self.started_at = record.time
        self._change(record)
        self.revision += 1

    def _change(self, event: Event) -> None:
        match event:
            case ObservationEvent(body=observation):
                layer = self.layers.get(observation.layer)
                if layer is not None:
                    layer.observation = observation
                    layer.observed_step = event.step
                    layer.history.add(event.step, observation.values, points_for(len(self.layers)))
            case ProgressEvent(body=progress):
                self.progress = progress
                loss = {} if progress.loss is None else {"loss": progress.loss}
                self.learning.add(progress.step, {**loss, **progress.metrics})
            case DiagnosisRaisedEvent(body=diagnosis) | DiagnosisUpdatedEvent(body=diagnosis):
                self.diagnoses[diagnosis.id] = diagnosis
            case DiagnosisClearedEvent(body=cleared):
                self.diagnoses.pop(cleared.id, None)
            case LayerWatchedEvent(body=watched):
                self._watch(watched)
            case InterventionEvent():
                self.interventions.append(event)
            case ControlEvent():
                self.controls.append(event)
            case RecipeEvent(body=recipe):
                self.recipe = recipe
            case ProbeFaultEvent(body=fault):
                self.faults.append(fault)
            case RunStartedEvent(body=started):
                self.started = started
                self.started_at = event.time
            case RunEndedEvent(body=ended):
                self.ended = ended
                self.ended_at = event.time

    def _watch(self, watched: LayerWatched) -> None:
        known = self.layers.get(watched.layer)
        if known is None:
            self.layers[watched.layer] = LayerState(watched)
        else:
            known.watched = watched
