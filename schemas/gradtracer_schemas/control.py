"""What may be asked of a run while it goes on, what it answers, and what it says of a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from gradtracer_schemas.exceptions import ForeignFrame, RequestRefused, VersionMismatch
from gradtracer_schemas.version import require_version

CONTROL_TOPIC = b"gradtracer-control/1"
"""First ZeroMQ frame of a request and of its answer: protocol name and major version."""

MAX_REQUEST_BYTES = 16 * 1024
"""A longer request is refused unread."""

LayerPath = Annotated[str, msgspec.Meta(max_length=1_000)]


class SetAutoFix(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="set_auto_fix"):
    """Turn auto-fix on or off."""

    enabled: bool
    """Whether it is to act."""
    layer: LayerPath = ""
    """Dotted path of one table; empty for all."""


class SetTrackInterval(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="set_track_interval"
):
    """Follow gradients at another share of the steps."""

    interval: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    """The share is 1/interval."""
    layer: LayerPath = ""
    """Dotted path of one table; empty for everything the run observes."""


class ReportNow(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="report_now"):
    """Measure and report as soon as may be."""


ControlAction = SetAutoFix | SetTrackInterval | ReportNow

CONTROL_ACTIONS: tuple[str, ...] = tuple(
    str(each.__struct_config__.tag) for each in ControlAction.__args__
)
"""Every request by name, in the order of PROTOCOL.md."""


class ControlRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a live run."""

    protocol: str
    """Version it was written under."""
    run: str
    """Run id: another run refuses it."""
    id: Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z-]{1,64}$")]
    """Made up by the sender, new for each request: one that was answered is not done again."""
    body: ControlAction
    """What is asked."""
    sender: Annotated[str, msgspec.Meta(max_length=80)] = ""
    """Who asks, for the audit: `command line`, `editor`, `agent`."""
    reason: Annotated[str, msgspec.Meta(max_length=400)] = ""
    """Why, for the audit."""


class ControlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request."""

    protocol: str
    """Version it was written under."""
    run: str
    """Run id."""
    id: str
    """The request's; empty where it could not be read."""
    status: Literal["accepted", "refused"]
    """Refused: nothing was changed."""
    reason: str
    """In a sentence: what has been done, or why nothing was."""
    step: int = 0
    """Optimizer steps done when it was answered."""


class Controlled(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of the run was changed while it went on."""

    request: str
    """Id of the request."""
    sender: str
    """Who asked."""
    setting: str
    """`auto_fix` or `track_interval`."""
    value: bool | int
    """Its value from now on."""
    layers: list[str]
    """Layers for which it was another before, at most 64."""
    reason: str = ""
    """Why, as the sender said."""


class _Asked(msgspec.Struct, frozen=True):
    action: str = ""


class _Header(msgspec.Struct, frozen=True):
    protocol: str = ""
    id: str = ""
    body: _Asked = _Asked()


_request = msgspec.json.Decoder(ControlRequest)
_answer = msgspec.json.Decoder(ControlAnswer)
_header = msgspec.json.Decoder(_Header)


def encode_control(message: ControlRequest | ControlAnswer) -> list[bytes]:
    """The ZeroMQ message of a request or an answer: topic, JSON."""
    return [CONTROL_TOPIC, msgspec.json.encode(message)]


def decode_request(frames: Sequence[bytes]) -> ControlRequest:
    """Read a request.

    Raises:
        ForeignFrame: no message of this protocol.
        RequestRefused: one that cannot be carried out, with its `id` and the reason.
    """
    content = _content(frames)
    if len(content) > MAX_REQUEST_BYTES:
        raise RequestRefused("", f"expected at most {MAX_REQUEST_BYTES} bytes, got {len(content)}")
    try:
        request = _request.decode(content)
        require_version(request.protocol)
    except VersionMismatch as error:
        raise RequestRefused(_told(content).id, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        told = _told(content)
        if told.body.action and told.body.action not in CONTROL_ACTIONS:
            raise RequestRefused(
                told.id,
                f"no request is named {told.body.action[:80]!r}; this run takes "
                f"{', '.join(CONTROL_ACTIONS)}",
            ) from None
        raise RequestRefused(told.id, str(error)) from None
    return request


def decode_answer(frames: Sequence[bytes]) -> ControlAnswer:
    """Read an answer. Raises ForeignFrame, also for one that does not decode."""
    try:
        return _answer.decode(_content(frames))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ForeignFrame(f"not an answer: {error}") from None


def _content(frames: Sequence[bytes]) -> bytes:
    if len(frames) != 2 or frames[0] != CONTROL_TOPIC:
        raise ForeignFrame(
            f"expected 2 frames that begin with {CONTROL_TOPIC!r}, "
            f"got {len(frames)} that begin with {bytes(frames[0][:32]) if frames else b''!r}"
        )
    return frames[1]


def _told(content: bytes) -> _Header:
    """What can be read of a request that cannot be decoded."""
    try:
        found = _header.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Header()
    return found if len(found.id) <= 64 else _Header(body=found.body)
