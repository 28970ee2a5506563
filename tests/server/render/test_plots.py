"""Plots are well-formed images that hold numbers alone, drawn inside their panels."""

from __future__ import annotations

import base64
import re
from typing import get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.history import History
from gradtracer_server.render.plots import Theme, plots


def image_of(uri: str) -> str:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def past(**series: list[float]) -> History:
    history = History()
    for index, row in enumerate(zip(*series.values(), strict=True)):
        history.add(100 * index, dict(zip(series, row, strict=True)))
    return history


FULL = past(
    seen_rows=[10.0, 600.0, 900.0], zombie_rows=[0.0, 5.0, 41.0], gradient_snr=[1.0, 0.3, 0.02]
)


@pytest.mark.parametrize("theme", get_args(Theme))
def test_three_panels_stand_side_by_side_and_are_told_in_words(theme: Theme) -> None:
    uri, words = plots({"rows": 1000, "gini": 0.62}, {"lorenz": [0.0, 0.1, 1.0]}, FULL, theme)
    tree = ElementTree.fromstring(image_of(uri))
    assert len(tree.findall("{*}g")) == 3
    assert words == (
        "Lorenz curve of exposure, Gini 0.62; rows by state over steps: 41 zombie, 100 unseen; "
        "SNR of the gradient, now 0.020"
    )


def test_without_anything_to_plot_there_is_no_image() -> None:
    assert plots({}, {}, History()) == ("", "")
    assert plots({"rows": 10}, {"lorenz": [float("nan"), 1.0]}, past(seen_rows=[1.0])) == ("", "")


FIGURE = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.dictionaries(st.sampled_from(["rows", "gini"]), st.floats(-1e30, 1e30)),
    st.lists(FIGURE, max_size=64),
    st.lists(st.tuples(FIGURE, FIGURE, FIGURE), max_size=9),
)
def test_whatever_the_numbers_every_point_lies_in_its_panel(
    values: dict[str, float], curve: list[float], rows: list[tuple[float, float, float]]
) -> None:
    history = History()
    for step, (seen, zombie, snr) in enumerate(rows):
        history.add(step, {"seen_rows": seen, "zombie_rows": zombie, "gradient_snr": snr})
    uri, _ = plots(values, {"lorenz": curve}, history)
    if not uri:
        return
    image = image_of(uri)
    ElementTree.fromstring(image)
    for points in re.findall('points="([^"]*)"', image):
        for x, y in (map(float, pair.split(",")) for pair in points.split()):
            assert 0 <= x <= 132
            assert 14 <= y <= 78
