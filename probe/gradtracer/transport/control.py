"""ROUTER socket of a run on the loopback interface: takes requests, encrypted by CURVE.

Its key pair is its own: who was given the stream's key hears the run, and cannot steer it. Served
by the reporting thread, a bounded number at a time, so that a flood of requests waits and the
training does not.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

import zmq

from gradtracer_schemas import (
    MAX_REQUEST_BYTES,
    PROTOCOL_VERSION,
    ControlAnswer,
    ControlRequest,
    ForeignFrame,
    RequestRefused,
    decode_request,
    encode_control,
)

_log = logging.getLogger("gradtracer")

MOST_AT_ONCE = 16
"""Requests taken in one round."""
ROUND_SECONDS = 0.05
"""Least time between two rounds."""
_REMEMBERED = 256
_HIGH_WATER_MARK = 64
_LINGER_MS = 500

CarryOut = Callable[[ControlRequest], str]
"""Does what a request asks and says what was done. Raises RequestRefused."""


class ControlSocket:
    """Takes requests and answers them. To be used from one thread only, as ZeroMQ sockets are."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run: str) -> None:
        """Bind to a free loopback port. Raises zmq.ZMQError where that is not possible."""
        public, secret = zmq.curve_keypair()
        self.key: str = public.decode("ascii")
        self.foreign = 0
        """Messages that were not of this protocol, and got no answer."""
        self._run = run
        self._answered: OrderedDict[str, ControlAnswer] = OrderedDict()
        self._next_round = 0.0
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.RCVHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        self._socket.curve_secretkey = secret
        self._socket.curve_publickey = public
        self._socket.curve_server = True
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"

    def serve(self, carry_out: CarryOut, step: int) -> int:
        """Answer what waits, at most so many and not too often; how many were taken."""
        now = time.monotonic()
        if now < self._next_round:
            return 0
        self._next_round = now + ROUND_SECONDS
        for taken in range(MOST_AT_ONCE):
            try:
                sender, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return taken
            answer = self._answer(frames, carry_out, step)
            if answer is not None:
                self._send(sender, answer)
        return MOST_AT_ONCE

    def _answer(
        self, frames: Sequence[bytes], carry_out: CarryOut, step: int
    ) -> ControlAnswer | None:
        try:
            request = decode_request(frames)
        except ForeignFrame:
            self.foreign += 1
            return None
        except RequestRefused as refusal:
            return self._refuse(refusal.id, refusal.reason, step)
        if request.run != self._run:
            reason = f"this is run {self._run}, the request is for {request.run[:80]}"
            return self._refuse(request.id, reason, step)
        if request.id not in self._answered:
            self._answered[request.id] = self._carried_out(request, carry_out, step)
            if len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)
        return self._answered[request.id]

    def _carried_out(
        self, request: ControlRequest, carry_out: CarryOut, step: int
    ) -> ControlAnswer:
        try:
            done = carry_out(request)
        except RequestRefused as refusal:
            return self._refuse(request.id, refusal.reason, step)
        except Exception:
            _log.exception("GradTracer: a request failed; training is not affected")
            return self._refuse(request.id, "it failed in the training process: see its log", step)
        return self._said("accepted", request.id, done, step)

    def _refuse(self, request: str, reason: str, step: int) -> ControlAnswer:
        return self._said("refused", request, reason, step)

    def _said(
        self, status: Literal["accepted", "refused"], request: str, reason: str, step: int
    ) -> ControlAnswer:
        return ControlAnswer(
            protocol=PROTOCOL_VERSION,
            run=self._run,
            id=request,
            status=status,
            reason=reason,
            step=step,
        )

    def _send(self, sender: bytes, answer: ControlAnswer) -> None:
        try:
            self._socket.send_multipart([sender, *encode_control(answer)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            _log.debug("an answer was not sent: %s", error)

    def close(self) -> None:
        """Close, giving the last answer half a second to go out."""
        self._socket.close()
