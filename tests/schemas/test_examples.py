"""The golden messages: one per kind, and a connection file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gradtracer_schemas import (
    EVENT_CLASSES,
    SourceFrame,
    decode_connection,
    decode_event,
    encode_event,
)

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
KINDS = {str(cls.__struct_config__.tag): cls for cls in EVENT_CLASSES}


def example(name: str) -> bytes:
    return (SCHEMAS / "examples" / f"{name}.json").read_bytes()


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / "json" / f"{name}.schema.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_there_is_one_example_per_kind_and_one_connection_file() -> None:
    names = {path.stem for path in (SCHEMAS / "examples").iterdir()}
    assert names == {*KINDS, "connection"}


@pytest.mark.parametrize("kind", KINDS)
def test_example_decodes_to_the_class_of_its_name(kind: str) -> None:
    assert type(decode_event(example(kind))) is KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_example_keeps_its_meaning_when_encoded_again(kind: str) -> None:
    assert json.loads(encode_event(decode_event(example(kind)))) == json.loads(example(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_example_validates_against_the_json_schema(kind: str) -> None:
    validator("event").validate(json.loads(example(kind)))


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("progress", {"seq": "7"}),
        ("progress", {"seq": -1}),
        ("progress", {"kind": "progres"}),
        ("run_ended", {"body": {"outcome": "vanished"}}),
        ("observation", {"body": {"values": {"gini": 0.5}}}),
    ],
)
def test_a_damaged_example_fails_the_json_schema(kind: str, damage: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator("event").validate(json.loads(example(kind)) | damage)


def test_connection_example_is_accepted_and_validates() -> None:
    connection = decode_connection(example("connection"))
    assert connection.events == "tcp://127.0.0.1:40213"
    validator("connection").validate(json.loads(example("connection")))


def test_recipe_of_the_example_validates_as_a_recipe_file() -> None:
    validator("recipe").validate(json.loads(example("recipe"))["body"])


@pytest.mark.parametrize("kind", ["run_started", "layer_watched", "diagnosis_raised"])
def test_frames_of_the_examples_carry_true_digests_and_ranges(kind: str) -> None:
    frames = list(frames_in(json.loads(example(kind))))
    assert frames
    for frame in frames:
        assert frame.digest == hashlib.sha256(frame.text.encode()).hexdigest()[:16]
        assert frame.end_column - frame.start_column == len(frame.text)
        assert frame.expression in frame.text


def frames_in(value: Any) -> list[SourceFrame]:
    if isinstance(value, dict):
        if "start_line" in value:
            return [SourceFrame(**value)]
        return [frame for item in value.values() for frame in frames_in(item)]
    if isinstance(value, list):
        return [frame for item in value for frame in frames_in(item)]
    return []
