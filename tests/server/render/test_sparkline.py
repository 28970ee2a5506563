"""A sparkline shows the way of a series in a few characters."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.render.sparkline import sparkline


def test_a_series_is_drawn_from_its_least_to_its_greatest_value() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([9, 4, 1]) == "█▄▁"


def test_one_that_never_changes_is_low() -> None:
    assert sparkline([3.0, 3.0, 3.0]) == "▁▁▁"


def test_fewer_than_two_numbers_are_no_series() -> None:
    assert sparkline([]) == sparkline([1.0]) == sparkline([1.0, math.nan, math.inf]) == ""


def test_the_least_numbers_there_are_can_be_drawn() -> None:
    assert sparkline([0.0, 5e-324]) == sparkline([0.0, 2e-311]) == "▁█"


@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=400), st.integers(2, 30))
def test_any_series_fits_the_width(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(width, len(values))
    assert set(line) <= set("▁▂▃▄▅▆▇█")
