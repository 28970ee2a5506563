"""PROTOCOL.md names every kind, field, limit and figure that the types and examples have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from gradtracer_schemas import (
    EVENT_CLASSES,
    MAX_CONNECTION_BYTES,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    TOPIC,
    Connection,
    ControlAnswer,
    ControlRequest,
    Envelope,
    Evidence,
    LayerRecipe,
    MeasuredEffect,
    SourceFrame,
)

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
DOCUMENT = (SCHEMAS / "PROTOCOL.md").read_text(encoding="utf-8")
BODIES = {
    str(cls.__struct_config__.tag): field.type
    for cls in EVENT_CLASSES
    for field in msgspec.structs.fields(cls)
    if field.name == "body"
}


def section(heading: str, document: str = DOCUMENT) -> str:
    """Text under the heading that names it, down to the next heading."""
    found = re.search(rf"^#+ [^\n]*\b{heading}\b[^\n]*\n(.*?)(?=^#|\Z)", document, re.M | re.S)
    return found[1] if found else ""


def unnamed(struct: type[msgspec.Struct], text: str) -> list[str]:
    """Fields of the struct that the text does not name as code."""
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", text))))
    return [name for name in struct.__struct_fields__ if name not in named]


@pytest.mark.parametrize("kind", BODIES)
def test_every_kind_has_a_section_that_names_its_fields(kind: str) -> None:
    assert unnamed(BODIES[kind], section(kind)) == []


@pytest.mark.parametrize(
    ("struct", "heading"),
    [
        (Envelope, "Event"),
        (Connection, "Connection file"),
        (ControlRequest, "Control of a live run"),
        (ControlAnswer, "Control of a live run"),
        (SourceFrame, "Sites"),
        (Evidence, "diagnosis_raised"),
        (MeasuredEffect, "intervention"),
        (LayerRecipe, "recipe"),
    ],
)
def test_every_other_struct_is_told_where_it_belongs(
    struct: type[msgspec.Struct], heading: str
) -> None:
    assert unnamed(struct, section(heading)) == []


@pytest.mark.parametrize("kind", BODIES)
def test_every_default_stands_in_the_table(kind: str) -> None:
    table = section(kind)
    for field in msgspec.structs.fields(BODIES[kind]):
        (row,) = re.findall(rf"^\| `{field.name}` \|.*$", table, re.M)
        assert ("| required |" in row) == field.required, row
        if isinstance(field.default, bool | int | float | str | None):
            assert f"| `{json.dumps(field.default)}` |" in row, row


def test_every_value_of_the_example_observation_is_explained() -> None:
    example = json.loads((SCHEMAS / "examples" / "observation.json").read_bytes())
    named = set(re.findall(r"`(\w+)`", section("Observation values")))
    assert set(example["body"]["values"]) - named == set()


def test_version_topic_and_limits_are_the_real_ones() -> None:
    assert DOCUMENT.startswith(f"# The GradTracer protocol, version {PROTOCOL_VERSION}\n")
    assert f"frame 0   {TOPIC.decode()} " in DOCUMENT
    assert f"at most {MAX_FRAME_BYTES // 1024**2} MiB" in DOCUMENT
    assert f"a connection file at most {MAX_CONNECTION_BYTES // 1024} KiB" in DOCUMENT


def test_links_within_the_document_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", DOCUMENT, re.M)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", DOCUMENT)) - anchors == set()
    for target in re.findall(r"\]\(([^#)]+)\)", DOCUMENT):
        assert (SCHEMAS / target).exists(), target


def test_the_check_sees_an_unnamed_field_and_a_missing_section() -> None:
    text = section("Connection file").replace("`server_key`", "the key")
    assert unnamed(Connection, text) == ["server_key"]
    assert unnamed(Connection, section("No such heading")) == list(Connection.__struct_fields__)
