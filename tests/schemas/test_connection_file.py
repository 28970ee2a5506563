"""A connection file leads only to this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gradtracer_schemas import (
    MAX_CONNECTION_BYTES,
    ConnectionFileError,
    decode_connection,
    is_loopback,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"


def connection(**changes: Any) -> bytes:
    return json.dumps(json.loads((EXAMPLES / "connection.json").read_bytes()) | changes).encode()


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:5555", "tcp://127.8.9.1:1", "tcp://[::1]:5", "tcp://[::1]:65535"]
)
def test_loopback_endpoints_are_followed(endpoint: str) -> None:
    assert is_loopback(endpoint)
    assert decode_connection(connection(events=endpoint)).events == endpoint


REFUSED = [
    "",
    "tcp://0.0.0.0:5555",
    "tcp://*:5555",
    "tcp://10.0.0.7:5555",
    "tcp://192.168.1.4:5555",
    "tcp://[2001:db8::1]:5555",
    "tcp://[::]:5555",
    "tcp://localhost:5555",
    "tcp://example.org:5555",
    "tcp://127.0.0.1.example.org:5555",
    "tcp://127.0.0.1",
    "tcp://127.0.0.1:",
    "tcp://127.0.0.1:0",
    "tcp://127.0.0.1:65536",
    "tcp://127.0.0.1:99999999",
    "tcp://127.0.0.1:*",
    "tcp://127.1:5555",
    "tcp://127.0.0.1:80?x;10.0.0.7:81",
    "tcp://127.0.0.1:80;10.0.0.7:81",
    "tcp://10.0.0.7:81@127.0.0.1:80",
    "tcp://127.0.0.1:80/elsewhere",
    "tcp://127.0.0.1:80\n",
    " tcp://127.0.0.1:80",
    "tcp://[::1%eth0]:80",
    "ipc:///tmp/feed",
    "inproc://feed",
    "udp://127.0.0.1:5555",
    "http://127.0.0.1:5555",
]


@pytest.mark.parametrize("endpoint", REFUSED)
def test_other_endpoints_are_refused_with_what_was_expected(endpoint: str) -> None:
    assert not is_loopback(endpoint)
    with pytest.raises(ConnectionFileError, match=r"expected a loopback endpoint such as tcp://"):
        decode_connection(connection(events=endpoint))


def test_another_address_is_followed_only_when_asked_for() -> None:
    content = connection(events="tcp://10.0.0.7:5555")
    assert decode_connection(content, allow_remote=True).events == "tcp://10.0.0.7:5555"


@pytest.mark.parametrize("key", ["", "short", "x" * 41, "x" * 39 + "\n", "x" * 39 + "é", "~" * 40])
def test_a_key_of_the_wrong_form_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConnectionFileError, match="server_key of 40 Z85 characters") as told:
        decode_connection(connection(server_key=key))
    assert key == "" or key not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null", b'{"x":' * 100_000])
def test_anything_else_is_not_a_connection_file(content: bytes) -> None:
    with pytest.raises(ConnectionFileError):
        decode_connection(content)


def test_another_major_version_is_refused() -> None:
    with pytest.raises(ConnectionFileError, match=r"expected protocol 1\.x, got '2\.0'"):
        decode_connection(connection(protocol="2.0"))


def test_an_oversized_file_is_refused_unread() -> None:
    with pytest.raises(ConnectionFileError, match=f"at most {MAX_CONNECTION_BYTES} bytes"):
        decode_connection(connection(note="x" * MAX_CONNECTION_BYTES))
