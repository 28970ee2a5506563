"""A diagnosis without evidence, or evidence without uncertainty, cannot exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_schemas import Diagnosis, Evidence, MalformedFrame, decode_event

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
FINDING: dict[str, Any] = {
    "statistic": "gini",
    "value": 0.78,
    "threshold": 0.757,
    "comparison": "above",
    "n": 1680,
}


def raised_with(evidence: list[dict[str, Any]]) -> bytes:
    event = json.loads((EXAMPLES / "diagnosis_raised.json").read_bytes())
    event["body"]["evidence"] = evidence
    return json.dumps(event).encode()


def test_evidence_needs_an_interval_or_a_p_value() -> None:
    with pytest.raises(ValueError, match=r"expected an interval or a p_value.*pass e\.g\."):
        Evidence(**FINDING)
    assert Evidence(**FINDING, p_value=0.01).interval is None
    assert Evidence(**FINDING, interval=(0.77, 0.79)).p_value is None


def test_evidence_without_uncertainty_is_refused_on_the_wire() -> None:
    with pytest.raises(MalformedFrame, match=r"interval or a p_value.*evidence\[0\]"):
        decode_event(raised_with([FINDING]))
    decode_event(raised_with([FINDING | {"p_value": 0.01}]))


@pytest.mark.parametrize("missing", FINDING)
def test_evidence_is_refused_without_each_of_its_parts(missing: str) -> None:
    rest = {key: value for key, value in FINDING.items() if key != missing} | {"p_value": 0.01}
    with pytest.raises(TypeError, match=missing):
        Evidence(**rest)
    with pytest.raises(MalformedFrame, match=missing):
        decode_event(raised_with([rest]))


@pytest.mark.parametrize("wrong", [{"n": 0}, {"p_value": 1.5}, {"p_value": -0.1}])
def test_impossible_figures_are_refused_on_the_wire(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedFrame, match=next(iter(wrong))):
        decode_event(raised_with([FINDING | {"p_value": 0.01} | wrong]))


@given(st.sampled_from(["value", "threshold"]), st.sampled_from(["nan", "inf", "-inf"]))
def test_figures_that_are_not_finite_are_refused(field: str, number: str) -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        Evidence(**(FINDING | {field: float(number)}), p_value=0.01)


def test_an_interval_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        Evidence(**FINDING, interval=(0.1, float("inf")))


def test_a_diagnosis_without_evidence_cannot_be_built_or_read() -> None:
    with pytest.raises(MalformedFrame, match="evidence"):
        decode_event(raised_with([]))
    body = json.loads((EXAMPLES / "diagnosis_raised.json").read_bytes())["body"]
    with pytest.raises(ValueError, match="at least one Evidence"):
        Diagnosis(**(body | {"evidence": []}))
