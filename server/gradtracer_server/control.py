"""Asks a live run for something and waits for its answer: one request, one socket, one deadline.

Imports zmq when a request is sent, so that commands without one start fast.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradtracer_schemas import (
    PROTOCOL_VERSION,
    Connection,
    ControlAnswer,
    ControlRequest,
    ForeignFrame,
    ReportNow,
    SetAutoFix,
    SetTrackInterval,
    decode_answer,
    encode_control,
    is_loopback,
)
from gradtracer_server.discovery import read_connection
from gradtracer_server.exceptions import ControlFailed, UsageError
from gradtracer_server.headless.baseline import find_run

if TYPE_CHECKING:
    import zmq

    from gradtracer_server.runs import Run

ANSWER_SECONDS = 10.0
"""How long to wait: a run that is measuring a large table answers when it has done so."""

_MAX_ANSWER_BYTES = 64 * 1024


def request_of(
    run: Run,
    body: SetAutoFix | SetTrackInterval | ReportNow,
    *,
    sender: str,
    reason: str = "",
) -> ControlRequest:
    """A new request to a run."""
    return ControlRequest(
        protocol=PROTOCOL_VERSION,
        run=run.id,
        id=str(uuid.uuid4()),
        body=body,
        sender=sender,
        reason=reason[:400],
    )


def live_run(runs: Sequence[Run], name: str | None) -> Run:
    """The run of an id or of its beginning; without one the only run that is live.

    Raises:
        UsageError: there is no such run, or which one is meant cannot be told.
    """
    if name:
        return find_run(name, runs)
    live = [run for run in runs if run.status == "live"]
    if len(live) == 1:
        return live[0]
    if not live:
        raise UsageError("no training is running here: there is nothing to change")
    ids = ", ".join(run.id for run in live[:5])
    raise UsageError(f"{len(live)} trainings are running here; name one of {ids}")


def ask(run: Run, request: ControlRequest, *, seconds: float = ANSWER_SECONDS) -> ControlAnswer:
    """Send a request and wait for the answer; blocks for at most so long.

    Raises:
        ControlFailed: the run has ended, takes no requests, cannot be reached, does not know the
            key, or did not answer in time.
    """
    connection = _connection(run)
    import zmq

    with zmq.Context() as context:
        socket = _connect(context, connection)
        # Each tells of a step of the connection: without them a wrong key looks like silence.
        monitor = socket.get_monitor_socket(zmq.EVENT_ALL)
        try:
            socket.send_multipart(encode_control(request))
            return _answer(socket, monitor, run, request, seconds)
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)


def _connection(run: Run) -> Connection:
    """The way to a run's control socket. Raises ControlFailed where there is none."""
    run.check_process()
    if run.status != "live":
        how = "ended without a goodbye" if run.status == "vanished" else f"is {run.status}"
        raise ControlFailed(f"run {run.id} {how}: only a training that goes on can be changed")
    connection = read_connection(run.folder)
    if connection is None:
        raise ControlFailed(
            f"run {run.id} has no connection file that can be used: it was started with "
            "publish=False, on another machine, or has only begun"
        )
    if not connection.control:
        raise ControlFailed(
            f"run {run.id} takes no requests: it was started with control=False, by an older "
            "gradtracer, or where its connection file cannot be kept private"
        )
    if not is_loopback(connection.control):
        raise ControlFailed(f"run {run.id} is to be controlled at another machine: refused")
    return connection


def _connect(context: zmq.Context[zmq.Socket[bytes]], connection: Connection) -> zmq.Socket[bytes]:
    import zmq

    socket = context.socket(zmq.DEALER)
    try:
        public, secret = zmq.curve_keypair()
        socket.curve_publickey = public
        socket.curve_secretkey = secret
        socket.curve_serverkey = connection.control_key.encode("ascii")
        socket.set(zmq.MAXMSGSIZE, _MAX_ANSWER_BYTES)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.IPV6, 1)
        socket.connect(connection.control)
    except BaseException:
        socket.close(linger=0)
        raise
    return socket


def _answer(
    socket: zmq.Socket[bytes],
    monitor: zmq.Socket[bytes],
    run: Run,
    request: ControlRequest,
    seconds: float,
) -> ControlAnswer:
    import zmq

    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    deadline = time.monotonic() + seconds
    connected = welcome = False
    while (left := deadline - time.monotonic()) > 0:
        ready = dict(poller.poll(max(1, int(left * 1000))))
        if socket in ready:
            try:
                answer = decode_answer(socket.recv_multipart())
            except ForeignFrame as error:
                raise ControlFailed(f"run {run.id} gave no answer of ours: {error}") from None
            if answer.id in ("", request.id):
                return answer
        if monitor in ready:
            event = _event(monitor)
            connected |= event == zmq.EVENT_CONNECTED
            welcome |= event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if connected and not welcome and event in _refusals():
                raise ControlFailed(
                    f"run {run.id} does not take the key of its connection file: the file is of "
                    "another process; start the training again"
                )
    run.check_process()
    if run.status != "live":
        raise ControlFailed(f"run {run.id} ended before it answered")
    if not connected:
        raise ControlFailed(f"nothing listens where run {run.id} said that it would")
    raise ControlFailed(
        f"run {run.id} did not answer within {seconds:g} s; it may still do what was asked: look "
        "at it before you ask again"
    )


def _event(monitor: zmq.Socket[bytes]) -> int:
    from zmq.utils.monitor import recv_monitor_message

    return recv_monitor_message(monitor)["event"]


def _refusals() -> frozenset[int]:
    import zmq

    return frozenset(
        {
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
            zmq.EVENT_HANDSHAKE_FAILED_AUTH,
            zmq.EVENT_DISCONNECTED,
        }
    )
