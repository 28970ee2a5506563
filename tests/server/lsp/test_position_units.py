"""Columns survive the way to the client and back in every encoding."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from gradtracer_server.locations import PositionUnits, path_of
from gradtracer_server.source.position import Position

ENCODINGS = list(types.PositionEncodingKind)
LINES = st.text(alphabet=st.sampled_from("ab \té中𝒙\u0301𝛒"), max_size=30)


@given(line=LINES, column=st.integers(0, 30), encoding=st.sampled_from(ENCODINGS))
def test_a_column_comes_back_as_it_went(
    line: str, column: int, encoding: types.PositionEncodingKind
) -> None:
    column = min(column, len(line))
    units = PositionUnits(encoding)
    assert units.from_client(line, units.to_client(line, column)) == column


@pytest.mark.parametrize(("encoding", "quote"), [("utf-8", 7), ("utf-16", 5), ("utf-32", 4)])
def test_the_example_of_the_protocol(encoding: str, quote: int) -> None:
    assert PositionUnits(encoding).to_client('x="𝒙"', 4) == quote


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_character_past_the_end_of_its_line_means_the_end(
    encoding: types.PositionEncodingKind,
) -> None:
    assert PositionUnits(encoding).from_client("aé𝒙", 99) == 3


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_line_past_the_end_of_the_text_means_its_end(
    encoding: types.PositionEncodingKind,
) -> None:
    place = PositionUnits(encoding).position_from_client(["ab", "é"], types.Position(7, 0))
    assert place == Position(1, 1)


def test_without_a_word_from_the_client_units_are_utf_16() -> None:
    assert PositionUnits(None).to_client("𝒙", 1) == 2


@pytest.mark.parametrize("name", ["a b.py", "é;c.py", "50%.py", "a#b?.py"])
def test_a_path_comes_back_from_its_uri(tmp_path: Path, name: str) -> None:
    path = tmp_path.resolve() / name
    assert path_of(path.as_uri()) == path


@pytest.mark.parametrize(
    "uri",
    ["untitled:Untitled-1", "git:/a.py", "vscode-notebook-cell:/a.ipynb", "", "file:///%00"],
)
def test_what_is_no_file_has_no_path(uri: str) -> None:
    assert path_of(uri) is None


def test_a_cell_has_a_name_below_that_of_its_notebook(tmp_path: Path) -> None:
    notebook = tmp_path.resolve() / "a.ipynb"
    uri = notebook.as_uri().replace("file:", "vscode-notebook-cell:")
    assert path_of(f"{uri}#W2sZ") == tmp_path.resolve() / "a.ipynb#W2sZ"
    assert path_of(f"{uri}#W3/Z") == tmp_path.resolve() / "a.ipynb#W3_Z"
    assert path_of(f"{notebook.as_uri()}#W2sZ") == path_of(f"{uri}#W2sZ")
