"""Listens to the sockets of live runs: one thread, one poller, nothing trusted.

Imports zmq when the first run is added, so that commands without a stream start fast.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradtracer_schemas import (
    MAX_FRAME_BYTES,
    TOPIC,
    Connection,
    ForeignFrame,
    FrameError,
    UnknownKind,
    decode_frames,
)
from gradtracer_server.journal import Record, Skipped

if TYPE_CHECKING:
    import zmq

logger = logging.getLogger(__name__)

RECEIVE_HIGH_WATER_MARK = 20_000
"""Messages a socket may hold unread; what is lost beyond it, the journal still has."""

_BATCH = 500
_JOIN_SECONDS = 5.0

OnEvents = Callable[[Path, list[Record]], None]
"""Called on the subscriber's thread with a run folder and what its socket brought."""

_Order = tuple[Path, Connection | None]


class Subscriber:
    """Receives the events of any number of runs on one background thread."""

    def __init__(self, on_events: OnEvents) -> None:
        self.dropped = 0
        """Messages that were foreign or malformed."""
        self._on_events = on_events
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._bell: socket.socket | None = None
        self._closing = False

    def add(self, folder: Path, connection: Connection) -> None:
        """Follow a run; adding it again with another connection replaces the first."""
        self._order((folder, connection))

    def remove(self, folder: Path) -> None:
        """Follow a run no longer."""
        self._order((folder, None))

    def close(self) -> None:
        """Stop the thread and close every socket; safe to call twice."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            if self._thread is None:
                return
            self._orders.put(None)
            self._ring()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _order(self, order: _Order) -> None:
        with self._lock:
            if self._closing:
                return
            if self._thread is None:
                self._bell, listener = socket.socketpair()
                self._bell.setblocking(False)
                listener.setblocking(False)
                self._thread = threading.Thread(
                    target=self._run, args=(listener,), name="gradtracer-subscriber", daemon=True
                )
                self._thread.start()
            self._orders.put(order)
            self._ring()

    def _ring(self) -> None:
        """Wake the thread. A full bell has been rung enough; a broken one has no thread behind."""
        if self._bell is not None:
            try:
                self._bell.send(b"!")
            except OSError:
                pass

    def _run(self, listener: socket.socket) -> None:
        """The thread: ZeroMQ's sockets are made, read and closed here and nowhere else."""
        import zmq

        followed: dict[Path, _Followed] = {}
        poller = zmq.Poller()
        poller.register(listener, zmq.POLLIN)
        context = zmq.Context()
        try:
            going = True
            while going:
                ready = dict(poller.poll())
                if listener.fileno() in ready:
                    listener.recv(4096)
                    going = self._carry_out(context, poller, followed)
                for folder, run in list(followed.items()):
                    if run.socket in ready:
                        self._deliver(folder, self._receive(run))
        finally:
            for run in followed.values():
                run.socket.close(linger=0)
            context.term()
            listener.close()
            if self._bell is not None:
                self._bell.close()

    def _carry_out(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: zmq.Poller,
        followed: dict[Path, _Followed],
    ) -> bool:
        """Take the orders that are waiting; False when the last one is to stop."""
        import zmq

        while not self._orders.empty():
            order = self._orders.get()
            if order is None:
                return False
            folder, connection = order
            old = followed.get(folder)
            if old is not None and old.connection == connection:
                continue
            if old is not None:
                poller.unregister(old.socket)
                old.socket.close(linger=0)
                del followed[folder]
            if connection is None:
                continue
            try:
                followed[folder] = _Followed(connection, _connect(context, connection))
            except (zmq.ZMQError, ValueError) as error:
                logger.warning("%s: its socket cannot be followed: %s", folder.name, error)
                continue
            poller.register(followed[folder].socket, zmq.POLLIN)
        return True

    def _receive(self, run: _Followed) -> list[Record]:
        import zmq

        records: list[Record] = []
        for _ in range(_BATCH):
            try:
                frames = run.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                event = decode_frames(frames)
                if event.run != run.connection.run:
                    raise ForeignFrame(f"expected run {run.connection.run!r}, got {event.run!r}")
                records.append(event)
            except UnknownKind as unknown:
                records.append(Skipped(unknown.kind, unknown.seq))
            except FrameError as error:
                self._drop(run, error)
        return records

    def _drop(self, run: _Followed, error: FrameError) -> None:
        self.dropped += 1
        level = logging.DEBUG if run.complained else logging.WARNING
        logger.log(level, "%s: a message was dropped: %s", run.connection.run, error)
        run.complained = True

    def _deliver(self, folder: Path, records: list[Record]) -> None:
        if not records:
            return
        try:
            self._on_events(folder, records)
        except Exception:
            logger.exception("%s: %d events could not be taken in", folder.name, len(records))


@dataclass(slots=True)
class _Followed:
    connection: Connection
    socket: zmq.Socket[bytes]
    complained: bool = False


def _connect(context: zmq.Context[zmq.Socket[bytes]], connection: Connection) -> zmq.Socket[bytes]:
    import zmq

    subscription = context.socket(zmq.SUB)
    try:
        public, secret = zmq.curve_keypair()
        subscription.curve_publickey = public
        subscription.curve_secretkey = secret
        subscription.curve_serverkey = connection.server_key.encode("ascii")
        subscription.set(zmq.RCVHWM, RECEIVE_HIGH_WATER_MARK)
        subscription.set(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        subscription.set(zmq.LINGER, 0)
        subscription.set(zmq.IPV6, 1)
        subscription.set(zmq.RECONNECT_IVL_MAX, 5000)
        subscription.set(zmq.SUBSCRIBE, TOPIC)
        subscription.connect(connection.events)
    except BaseException:
        subscription.close(linger=0)
        raise
    return subscription
