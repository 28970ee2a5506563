"""The protocol version, and which versions a reader takes."""

from __future__ import annotations

from gradtracer_schemas.exceptions import VersionMismatch

PROTOCOL_VERSION = "1.0"
"""`major.minor`: a reader takes any minor of its own major."""


def require_version(protocol: str) -> None:
    """Refuse another major version.

    Raises:
        VersionMismatch: the writer's major version is not this reader's.
    """
    major = protocol.partition(".")[0]
    ours = PROTOCOL_VERSION.partition(".")[0]
    if major != ours:
        raise VersionMismatch(
            f"expected protocol {ours}.x, got {protocol[:40]!r}: "
            "update gradtracer in the environment of the editor or of the training",
            protocol[:40],
        )


def is_newer(protocol: str) -> bool:
    """Whether the writer's minor version came after this reader's."""
    theirs = protocol.partition(".")[2]
    ours = PROTOCOL_VERSION.partition(".")[2]
    return theirs.isascii() and theirs.isdigit() and len(theirs) < 10 and int(theirs) > int(ours)
