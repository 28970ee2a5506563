"""PUB socket of a run on the loopback interface, encrypted by CURVE."""

from __future__ import annotations

import zmq

from gradtracer_schemas import TOPIC

_LINGER_MS = 500
_HIGH_WATER_MARK = 10_000


class Publisher:
    """Publishes encoded events. To be used from one thread only, as ZeroMQ sockets are.

    Who does not hold `server_key` cannot finish the CURVE handshake, so cannot read a message.
    """

    def __init__(self) -> None:
        """Bind to a free loopback port. Raises zmq.ZMQError where that is not possible."""
        if not zmq.has("curve"):
            raise zmq.ZMQError(msg="libzmq was built without CURVE")
        public, secret = zmq.curve_keypair()
        self.server_key: str = public.decode("ascii")
        # A context of our own: a signal handler or fork in the user's code cannot end it.
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self.context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        self._socket.curve_secretkey = secret
        self._socket.curve_publickey = public
        self._socket.curve_server = True
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"

    def send(self, line: bytes) -> None:
        """Send one encoded event; without a reader, or with a slow one, it is dropped."""
        self._socket.send_multipart([TOPIC, line])

    def close(self) -> None:
        """Close, giving readers half a second to take what is under way."""
        self._socket.close()
        self.context.term()
