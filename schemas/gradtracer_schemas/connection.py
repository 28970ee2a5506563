"""The connection file: how a reader on this machine joins a run's stream."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import msgspec

from gradtracer_schemas.exceptions import ConnectionFileError


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of `.gradtracer/runs/<run>/connection.json`, mode 0600.

    The CURVE key in it is the only way in: who cannot read the file cannot join.
    """

    protocol: str
    """Protocol version of the writer."""
    run: str
    """Run id."""
    pid: int
    """Process id of the writer on `host`."""
    host: str
    """Host name of the writer."""
    process_started: str = ""
    """Start stamp of the process; tells a reused pid."""
    events: str
    """Endpoint of the PUB socket, `tcp://127.0.0.1:PORT`."""
    server_key: str
    """CURVE public key of the PUB socket, Z85, 40 characters."""


def decode_connection(content: bytes, *, allow_remote: bool = False) -> Connection:
    """Read a connection file and refuse what must not be connected to.

    Raises:
        ConnectionFileError: not a connection file, a key of the wrong form,
            or an endpoint that is not on the loopback interface.
    """
    try:
        connection = msgspec.json.decode(content, type=Connection)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConnectionFileError(f"not a connection file: {error}") from None
    if len(connection.server_key) != 40:
        raise ConnectionFileError(
            f"expected a server_key of 40 characters, got {len(connection.server_key)}"
        )
    if not allow_remote and not is_loopback(connection.events):
        raise ConnectionFileError(
            "expected a loopback endpoint such as tcp://127.0.0.1:5555, "
            f"got {connection.events!r}: not followed; allow other addresses in the server's settings if you trust this one"
        )
    return connection


def is_loopback(endpoint: str) -> bool:
    """Whether a ZeroMQ endpoint can only be this machine."""
    try:
        parts = urlsplit(endpoint)
        return (
            parts.scheme == "tcp"
            and parts.port is not None
            and parts.hostname is not None
            and ipaddress.ip_address(parts.hostname).is_loopback
        )
    except ValueError:
        return False
