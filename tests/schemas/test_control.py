"""Requests to a live run: what is read, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_schemas import (
    CONTROL_ACTIONS,
    CONTROL_TOPIC,
    MAX_REQUEST_BYTES,
    ControlAnswer,
    ControlRequest,
    ForeignFrame,
    ReportNow,
    RequestRefused,
    SetAutoFix,
    SetTrackInterval,
    decode_answer,
    decode_request,
    encode_control,
)

REQUEST = {
    "protocol": "1.0",
    "run": "20261103-091522-4f2a9c",
    "id": "7d2f-1",
    "body": {"action": "set_track_interval", "interval": 5},
}


def frames(**changes: Any) -> list[bytes]:
    return [CONTROL_TOPIC, json.dumps(REQUEST | changes).encode()]


@pytest.mark.parametrize(
    "body", [SetAutoFix(enabled=True, layer="item_emb"), SetTrackInterval(interval=7), ReportNow()]
)
def test_a_request_arrives_as_it_was_sent(
    body: SetAutoFix | SetTrackInterval | ReportNow,
) -> None:
    request = ControlRequest(protocol="1.0", run="r", id="a-1", body=body, sender="editor")
    assert decode_request(encode_control(request)) == request
    answer = ControlAnswer(protocol="1.0", run="r", id="a-1", status="refused", reason="no", step=3)
    assert decode_answer(encode_control(answer)) == answer


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"body": {"action": "stop_training"}}, "no request is named 'stop_training'"),
        ({"body": {"action": "set_track_interval", "interval": 0}}, "`int` >= 1"),
        ({"body": {"action": "set_track_interval", "interval": 2.5}}, "`int`"),
        ({"body": {"action": "set_auto_fix"}}, "enabled"),
        ({"body": {"action": "set_auto_fix", "enabled": "yes"}}, "`bool`"),
        ({"protocol": "2.0"}, "expected protocol 1.x"),
        ({"sender": "x" * 81}, "sender"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        decode_request(frames(**changes))
    assert told in refusal.value.reason
    assert refusal.value.id == "7d2f-1"


def test_an_unknown_request_is_told_which_there_are() -> None:
    with pytest.raises(RequestRefused, match=", ".join(CONTROL_ACTIONS)):
        decode_request(frames(body={"action": "set_learning_rate", "lr": 1}))


def test_a_later_minor_version_may_add_fields() -> None:
    body = {**REQUEST["body"], "until_step": 900}  # type: ignore[dict-item]
    assert decode_request(frames(protocol="1.9", body=body, urgency=1)).body == SetTrackInterval(
        interval=5
    )


def test_a_huge_request_is_refused_unread() -> None:
    with pytest.raises(RequestRefused, match="bytes"):
        decode_request([CONTROL_TOPIC, b" " * (MAX_REQUEST_BYTES + 1)])


@pytest.mark.parametrize("message", [[], [b"x"], [b"gradtracer/1", b"{}"], [CONTROL_TOPIC] * 3])
def test_a_foreign_message_is_not_answered(message: list[bytes]) -> None:
    with pytest.raises(ForeignFrame):
        decode_request(message)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(RequestRefused):
        decode_request([CONTROL_TOPIC, content])
