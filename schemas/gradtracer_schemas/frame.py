"""Events to bytes and back: one JSON line in the journal, two ZeroMQ frames on the wire."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gradtracer_schemas.event import Event
from gradtracer_schemas.exceptions import (
    ForeignFrame,
    MalformedFrame,
    UnknownKind,
    VersionMismatch,
)
from gradtracer_schemas.version import is_newer, require_version

TOPIC = b"gradtracer/1"
"""First ZeroMQ frame: protocol name and major version."""

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""A longer event is refused unread: nothing of ours comes near it."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


class _Header(msgspec.Struct):
    protocol: str
    kind: str
    seq: int


_header_decoder = msgspec.json.Decoder(_Header)


def encode_event(event: Event) -> bytes:
    """JSON of the event in UTF-8, without a line break."""
    return _encoder.encode(event)


def decode_event(line: bytes) -> Event:
    """Read one event.

    Raises:
        VersionMismatch: another major version of the protocol.
        UnknownKind: a kind this reader does not know, or a newer minor version's event that it
            cannot read (a value added to a list, say); carries `seq`.
        MalformedFrame: anything else that is wrong, with the path of the field.
    """
    if len(line) > MAX_FRAME_BYTES:
        raise MalformedFrame(f"expected at most {MAX_FRAME_BYTES} bytes, got {len(line)}")
    try:
        event = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _classify(line, error) from None
    require_version(event.protocol)
    return event


def encode_frames(event: Event) -> list[bytes]:
    """The ZeroMQ message of an event: topic, JSON."""
    return [TOPIC, encode_event(event)]


def decode_frames(frames: Sequence[bytes]) -> Event:
    """Read a ZeroMQ message. Raises as `decode_event`, and ForeignFrame."""
    if len(frames) != 2 or frames[0] != TOPIC:
        raise ForeignFrame(
            f"expected 2 frames that begin with {TOPIC!r}, "
            f"got {len(frames)} that begin with {bytes(frames[0][:32]) if frames else b''!r}"
        )
    return decode_event(frames[1])


def _classify(line: bytes, error: Exception) -> MalformedFrame | VersionMismatch | UnknownKind:
    try:
        header = _header_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return MalformedFrame(str(error))
    try:
        require_version(header.protocol)
    except VersionMismatch as mismatch:
        return mismatch
    unknown_kind = "Invalid value" in str(error) and "`$.kind`" in str(error)
    if unknown_kind or is_newer(header.protocol):
        return UnknownKind(header.kind, header.seq)
    return MalformedFrame(str(error))
