"""Errors of the wire format.

SchemaError
├── FrameError            the bytes are not an event of ours
│   ├── MalformedFrame    not JSON, a field missing or of the wrong type
│   ├── ForeignFrame      well-formed, but not GradTracer's (wrong topic or shape)
│   └── VersionMismatch   a protocol version this reader cannot know
├── UnknownKind           a newer writer's event: skip it, keep its sequence number
├── RequestRefused        a request to a run that it does not carry out
└── ConnectionFileError   a connection file that must not be used
"""

from __future__ import annotations


class SchemaError(ValueError):
    """Base of every error that `gradtracer_schemas` raises."""


class FrameError(SchemaError):
    """The bytes cannot be read as an event."""


class MalformedFrame(FrameError):
    """The bytes are not JSON, or a field is missing or of the wrong type."""


class ForeignFrame(FrameError):
    """The message is not addressed to a GradTracer reader."""


class VersionMismatch(FrameError):
    """The event was written under `protocol`, a version that this reader cannot know."""

    def __init__(self, message: str, protocol: str) -> None:
        super().__init__(message)
        self.protocol = protocol


class UnknownKind(SchemaError):
    """The event uses something added after this reader; `seq` still counts."""

    def __init__(self, kind: str, seq: int) -> None:
        super().__init__(f"event {kind[:40]!r} at seq {seq} is newer than this reader: skipped")
        self.kind = kind
        self.seq = seq


class RequestRefused(SchemaError):
    """A request that a run cannot carry out; `id` is the request's, where it could be read."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(reason)
        self.id = id
        self.reason = reason


class ConnectionFileError(SchemaError):
    """The connection file is unreadable or points where no reader may connect."""
