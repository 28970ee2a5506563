"""The connection file: how a reader on this machine joins a run's stream."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from gradtracer_schemas.exceptions import ConnectionFileError, VersionMismatch
from gradtracer_schemas.version import require_version

MAX_CONNECTION_BYTES = 64 * 1024
"""A longer connection file is refused."""

_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_TCP_ENDPOINT = re.compile(
    r"tcp://(?:(?P<four>[0-9.]+)|\[(?P<six>[0-9a-fA-F:.]+)\]):(?P<port>[0-9]{1,5})"
)


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
    control: str = ""
    """Endpoint of the ROUTER socket that takes requests; empty when the run takes none."""
    control_key: str = ""
    """CURVE public key of that socket, another than `server_key`: who reads may not yet steer."""


def decode_connection(content: bytes, *, allow_remote: bool = False) -> Connection:
    """Read a connection file and refuse what must not be connected to.

    Raises:
        ConnectionFileError: not a connection file, another major version, a key of the
            wrong form, or an endpoint that is not on the loopback interface.
    """
    if len(content) > MAX_CONNECTION_BYTES:
        raise ConnectionFileError(
            f"expected at most {MAX_CONNECTION_BYTES} bytes, got {len(content)}"
        )
    try:
        connection = msgspec.json.decode(content, type=Connection)
        require_version(connection.protocol)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConnectionFileError(f"not a connection file: {error}") from None
    except VersionMismatch as error:
        raise ConnectionFileError(str(error)) from None
    if not _Z85_KEY.fullmatch(connection.server_key):
        raise ConnectionFileError(
            "expected a server_key of 40 Z85 characters, "
            f"got {len(connection.server_key)} characters; start the training again"
        )
    if connection.control and not _Z85_KEY.fullmatch(connection.control_key):
        raise ConnectionFileError(
            "expected a control_key of 40 Z85 characters, "
            f"got {len(connection.control_key)} characters; start the training again"
        )
    for endpoint in [connection.events, *filter(None, [connection.control])]:
        if not allow_remote and not is_loopback(endpoint):
            raise ConnectionFileError(
                "expected a loopback endpoint such as tcp://127.0.0.1:5555, "
                f"got {endpoint[:200]!r}: not followed; "
                "allow other addresses in the server's settings if you trust this one"
            )
    return connection


def is_loopback(endpoint: str) -> bool:
    """Whether a ZeroMQ endpoint can only be this machine.

    The form is matched whole: ZeroMQ takes `tcp://source;destination`, so an address that
    merely begins with 127.0.0.1 may still leave the machine.
    """
    match = _TCP_ENDPOINT.fullmatch(endpoint)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        return False
    try:
        return ipaddress.ip_address(match["four"] or match["six"]).is_loopback
    except ValueError:
        return False
