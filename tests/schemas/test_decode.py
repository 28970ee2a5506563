"""Any bytes become an event or one of our errors, and newer writers are read as the spec says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_schemas import (
    EVENT_CLASSES,
    MAX_FRAME_BYTES,
    TOPIC,
    Envelope,
    ForeignFrame,
    FrameError,
    MalformedFrame,
    Progress,
    ProgressEvent,
    SchemaError,
    UnknownKind,
    VersionMismatch,
    decode_connection,
    decode_event,
    decode_frames,
    encode_event,
    encode_frames,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
GOLDEN = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.json"))]
PROGRESS: dict[str, Any] = json.loads((EXAMPLES / "progress.json").read_bytes())

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
MAPS = {"values", "curves", "settings", "parameters", "metrics", "versions", "related", "layers"}
"""Fields whose keys are names, not fields."""


def encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    """A golden message with some of its bytes replaced."""
    message = bytearray(draw(st.sampled_from(GOLDEN)))
    start = draw(st.integers(0, len(message) - 1))
    end = draw(st.integers(start, min(len(message), start + 40)))
    message[start:end] = draw(st.binary(max_size=40))
    return bytes(message)


@st.composite
def messages_with_one_field_replaced(draw: st.DrawFn) -> bytes:
    """A golden message with any value in it exchanged for any JSON value."""
    message = json.loads(draw(st.sampled_from(GOLDEN)))
    container: Any = message
    while True:
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        key = draw(st.sampled_from(keys))
        if not container[key] or not isinstance(container[key], dict | list) or draw(st.booleans()):
            container[key] = draw(json_values)
            return encoded(message)
        container = container[key]


@given(st.binary() | damaged_messages() | messages_with_one_field_replaced())
def test_any_bytes_are_an_event_or_a_schema_error(line: bytes) -> None:
    try:
        event = decode_event(line)
    except SchemaError as error:
        assert str(error)
    else:
        assert isinstance(event, Envelope)


@given(st.binary() | damaged_messages() | messages_with_one_field_replaced())
def test_any_bytes_are_a_connection_or_a_schema_error(content: bytes) -> None:
    try:
        connection = decode_connection(content)
    except SchemaError as error:
        assert str(error)
    else:
        assert connection.protocol.startswith("1")


@given(st.lists(st.binary(max_size=64) | st.just(TOPIC) | st.sampled_from(GOLDEN), max_size=4))
def test_any_frames_are_an_event_or_a_schema_error(frames: list[bytes]) -> None:
    try:
        event = decode_frames(frames)
    except SchemaError as error:
        assert str(error)
    else:
        assert len(frames) == 2
        assert isinstance(event, Envelope)


@given(st.builds(Progress), st.integers(0, 2**53), st.text())
def test_what_is_encoded_decodes_to_the_same(body: Progress, seq: int, run: str) -> None:
    event = ProgressEvent(protocol="1.0", run=run, rank=0, seq=seq, step=0, time=1.0, body=body)
    line = encode_event(event)
    assert b"\n" not in line
    assert decode_event(line) == event
    assert decode_frames(encode_frames(event)) == event


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", "truncated"),
        (b"null", "Expected `object`, got `null`"),
        (b'{"kind": "progress", "seq": ', "truncated"),
        (b"\xff\xfe", "malformed"),
        (b'{"a":' * 100_000, "recursion"),
        (encoded(PROGRESS | {"seq": -1}), r"`\$\.seq`"),
        (encoded(PROGRESS | {"rank": "0"}), r"Expected `int`, got `str` - at `\$\.rank`"),
        (encoded(PROGRESS | {"body": {"step": None}}), r"at `\$\.body\.step`"),
        (encoded({**PROGRESS, "body": {}}), "missing required field `step`"),
    ],
)
def test_a_malformed_line_is_told_with_the_field_that_is_wrong(line: bytes, expected: str) -> None:
    with pytest.raises(MalformedFrame, match=expected):
        decode_event(line)


def test_an_oversized_line_is_refused_unread() -> None:
    with pytest.raises(MalformedFrame, match=f"at most {MAX_FRAME_BYTES} bytes"):
        decode_event(b" " * (MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    "frames", [[], [TOPIC], [b"other", GOLDEN[0]], [TOPIC, GOLDEN[0], b""], [b"\xff" * 99, b""]]
)
def test_a_message_of_another_shape_or_topic_is_foreign(frames: list[bytes]) -> None:
    with pytest.raises(ForeignFrame, match="expected 2 frames that begin with b'gradtracer/1'"):
        decode_frames(frames)


@pytest.mark.parametrize("golden", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_unknown_fields_are_skipped_at_every_depth(golden: Path) -> None:
    def with_more(value: Any, *, is_map: bool = False) -> Any:
        if isinstance(value, list):
            return [with_more(item) for item in value]
        if not isinstance(value, dict):
            return value
        grown = {key: with_more(item, is_map=key in MAPS) for key, item in value.items()}
        return grown if is_map else grown | {"added_in_1_7": {"a": [1]}}

    original = json.loads(golden.read_bytes())
    grown = with_more(original)
    assert grown != original
    decode = decode_connection if golden.stem == "connection" else decode_event
    assert decode(encoded(grown)) == decode(golden.read_bytes())


@pytest.mark.parametrize("cls", EVENT_CLASSES, ids=lambda cls: cls.__struct_config__.tag)
def test_optional_fields_may_be_absent(cls: type[Envelope]) -> None:
    """What an older minor version did not write takes its default."""
    (body,) = (field for field in msgspec.structs.fields(cls) if field.name == "body")
    kind = cls.__struct_config__.tag
    golden = json.loads((EXAMPLES / f"{kind}.json").read_bytes())
    required = {field.name for field in msgspec.structs.fields(body.type) if field.required}
    golden["body"] = {name: value for name, value in golden["body"].items() if name in required}
    assert isinstance(decode_event(encoded(golden)), cls)


def test_an_unknown_kind_is_told_with_its_sequence_number() -> None:
    newer = PROGRESS | {"kind": "snapshot", "seq": 41, "body": {"anything": 1}}
    with pytest.raises(UnknownKind) as told:
        decode_event(encoded(newer))
    assert told.value.kind == "snapshot"
    assert told.value.seq == 41
    assert not isinstance(told.value, FrameError)


def test_a_value_added_by_a_newer_minor_version_is_passed_over_with_its_sequence_number() -> None:
    newer = json.loads((EXAMPLES / "diagnosis_raised.json").read_bytes())
    newer["protocol"] = "1.7"
    newer["body"]["type"] = "POOR_INITIALISATION"
    with pytest.raises(UnknownKind, match="newer than this reader") as told:
        decode_event(encoded(newer))
    assert told.value.seq == newer["seq"]
    with pytest.raises(MalformedFrame, match=r"`\$\.body\.type`"):
        decode_event(encoded(newer | {"protocol": "1.0"}))


@pytest.mark.parametrize("protocol", ["1", "1.0", "1.99", "1.0.3"])
def test_any_minor_of_the_same_major_version_is_read(protocol: str) -> None:
    assert decode_event(encoded(PROGRESS | {"protocol": protocol})).protocol == protocol


@pytest.mark.parametrize("protocol", ["2.0", "0.9", "10.0", "", "one", "v1.0"])
@pytest.mark.parametrize("kind", ["progress", "unheard_of"])
def test_another_major_version_is_refused_whatever_the_kind(protocol: str, kind: str) -> None:
    with pytest.raises(VersionMismatch, match=r"expected protocol 1\.x.*update gradtracer"):
        decode_event(encoded(PROGRESS | {"protocol": protocol, "kind": kind}))
