"""Numbers are written as people read them."""

from __future__ import annotations

import math

import pytest

from gradtracer_server.render.numbers import count, listed, number, p_value, percent, sureness


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1682, "1,682"),
        (0, "0"),
        (-3.0, "-3"),
        (0.23144, "0.231"),
        (24.31, "24.3"),
        (1234.6, "1,235"),
        (0.000123, "1.2e-4"),
        (-0.5, "-0.500"),
        (1e20, "1.00e+20"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_number_with_two_digits() -> None:
    assert number(0.8712, digits=2) == "0.87"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.88, "88 %"),
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.995, "99.5 %"),
        (0.99999, "over 99.9 %"),
        (0.004, "0.4 %"),
        (0.00001, "under 0.1 %"),
        (math.nan, "not finite"),
    ],
)
def test_a_share_is_never_rounded_to_certainty(share: float, text: str) -> None:
    assert percent(share) == text


def test_count_and_p_value() -> None:
    assert count(1682.4) == "1,682"
    assert p_value(0.0034) == "p = 0.0034"
    assert p_value(1e-9) == "p < 0.0001"


def test_long_lists_name_three_and_count_the_rest() -> None:
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(list("abcdefg")) == "a, b, c and 4 more"


def test_nobody_is_ever_certain() -> None:
    assert [sureness(share) for share in (0.5, 0.98, 0.9951, 0.9996, 1.0)] == [
        "50 %",
        "98 %",
        "99.5 %",
        ">99.9 %",
        ">99.9 %",
    ]
