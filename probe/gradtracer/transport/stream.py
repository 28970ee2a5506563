"""One run's events on their way out, numbered, journalled, then published; and requests to it."""

from __future__ import annotations

import logging
import queue
import time
from pathlib import Path

import msgspec
import zmq

from gradtracer.transport.connection_file import (
    is_private,
    process_start_stamp,
    remove_connection_file,
    write_connection_file,
)
from gradtracer.transport.control import CarryOut, ControlSocket
from gradtracer.transport.journal import JournalWriter
from gradtracer.transport.publisher import Publisher
from gradtracer_schemas import (
    PROTOCOL_VERSION,
    Connection,
    Envelope,
    LayerWatchedEvent,
    Observation,
    ObservationEvent,
    ProgressEvent,
    RunStartedEvent,
    encode_event,
)

_log = logging.getLogger("gradtracer")


class _Pending(msgspec.Struct):
    event_class: type[Envelope]
    body: msgspec.Struct
    step: int
    time: float


class EventStream:
    """Any thread may `submit`; one thread, always the same, calls `drain` and `close`.

    `submit` uses a queue whose `put` may interrupt itself, so a signal handler may call it too.
    """

    def __init__(self, run: str, folder: Path, *, rank: int, pid: int, host: str) -> None:
        """Nothing is opened yet: see `open`."""
        self.run = run
        self.folder = folder
        self.lost = 0
        self._rank = rank
        self._pid = pid
        self._host = host
        self._seq = 0
        self._opening: list[bytes] = []
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._journal: JournalWriter | None = None
        self._publisher: Publisher | None = None
        self._control: ControlSocket | None = None
        self._takes_requests = False

    def open(self, *, publish: bool, control: bool = False) -> None:
        """Open journal and sockets; what cannot be had costs one warning, never an error."""
        self._takes_requests = control
        try:
            self._journal = JournalWriter(self.folder / "events.jsonl")
        except OSError as error:
            _log.warning("cannot write %s (%s): the run leaves no journal", self.folder, error)
        if publish:
            self._open_socket()

    def _open_socket(self) -> None:
        try:
            self._publisher = Publisher()
            if self._takes_requests:
                self._control = ControlSocket(self._publisher.context, self.run)
            path = self.folder / "connection.json"
            write_connection_file(path, self._connection())
            if self._control is not None and not is_private(path):
                _log.warning(
                    "%s cannot be kept from other users here: the run takes no requests", path
                )
                self._control.close()
                self._control = None
                write_connection_file(path, self._connection())
        except (OSError, zmq.ZMQError) as error:
            self._close_sockets()
            if self._journal is not None:
                _log.warning("no live stream (%s): editors read the journal instead", error)

    def _connection(self) -> Connection:
        assert self._publisher is not None
        control = self._control
        return Connection(
            protocol=PROTOCOL_VERSION,
            run=self.run,
            pid=self._pid,
            host=self._host,
            process_started=process_start_stamp(),
            events=self._publisher.endpoint,
            server_key=self._publisher.server_key,
            control=control.endpoint if control is not None else "",
            control_key=control.key if control is not None else "",
        )

    def serve(self, carry_out: CarryOut, step: int) -> None:
        """Answer the requests that wait, within bounds."""
        if self._control is not None:
            self._control.serve(carry_out, step)

    def _close_sockets(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def submit(self, event_class: type[Envelope], body: msgspec.Struct, step: int) -> None:
        """Queue an event; returns at once."""
        self._queue.put(_Pending(event_class, body, step, time.time()))

    def wake(self) -> None:
        """End a `wait` early."""
        self._queue.put(None)

    def drain(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for an event, then write all that are there."""
        try:
            batch = [self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()]
        except queue.Empty:
            return
        while True:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        self._write(_coalesce([item for item in batch if item is not None]))

    def _write(self, batch: list[_Pending]) -> None:
        lines = [self._encode(item) for item in batch]
        if not lines:
            return
        if self._journal is not None:
            try:
                if self._journal.is_gone:
                    self._begin_again()
                self._journal.append(lines)
            except OSError as error:
                left = "live stream only" if self._publisher else "nothing more is recorded"
                _log.warning("cannot append to the journal (%s): %s", error, left)
                self._journal = None
        self._opening += [
            line
            for item, line in zip(batch, lines, strict=True)
            if item.event_class in (RunStartedEvent, LayerWatchedEvent)
        ]
        if self._publisher is not None:
            for line in lines:
                self._publisher.send(line)
        elif self._journal is None:
            self.lost += len(lines)

    def _begin_again(self) -> None:
        """Someone deleted the run's folder: make it anew, so that the run is seen from here on."""
        _log.warning("%s was deleted: the run goes on in a new journal there", self.folder)
        if self._journal is not None:
            self._journal.close()
        self._journal = JournalWriter(self.folder / "events.jsonl")
        self._journal.append(self._opening)
        if self._publisher is not None:
            self._close_sockets()
            self._open_socket()

    def _encode(self, item: _Pending) -> bytes:
        event = item.event_class(
            protocol=PROTOCOL_VERSION,
            run=self.run,
            rank=self._rank,
            seq=self._seq,
            step=item.step,
            time=item.time,
            body=item.body,  # pyright: ignore[reportCallIssue] each kind declares its own body
        )
        self._seq += 1
        return encode_event(event)  # pyright: ignore[reportArgumentType]

    def close(self) -> None:
        """Write what is left and give everything back."""
        self.drain(0)
        if self._journal is not None:
            self._journal.close()
        if self._publisher is not None:
            remove_connection_file(self.folder / "connection.json")
        self._close_sockets()


def _coalesce(batch: list[_Pending]) -> list[_Pending]:
    """Keep the latest observation of each layer and the latest progress; drop nothing else."""
    latest: dict[tuple[type[Envelope], str], int] = {}
    for index, item in enumerate(batch):
        key = _replaceable(item)
        if key is not None:
            latest[key] = index
    return [
        item
        for index, item in enumerate(batch)
        if (key := _replaceable(item)) is None or latest[key] == index
    ]


def _replaceable(item: _Pending) -> tuple[type[Envelope], str] | None:
    if item.event_class is ProgressEvent:
        return ProgressEvent, ""
    if item.event_class is ObservationEvent and isinstance(item.body, Observation):
        return ObservationEvent, item.body.layer
    return None
