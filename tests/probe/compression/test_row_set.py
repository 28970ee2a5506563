"""Row sets come back as they were written, and damaged ones are refused by their path."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.compression.row_set import pack_rows, unpack_rows
from gradtracer.exceptions import RecipeError
from gradtracer_schemas import RowSet


@given(st.lists(st.booleans(), max_size=200))
def test_a_row_set_comes_back_as_it_was_written(chosen: list[bool]) -> None:
    mask = np.array(chosen, dtype=bool)
    rows = pack_rows(mask)
    assert rows.count == sum(chosen)
    assert np.array_equal(unpack_rows(rows, len(chosen)), mask)


def test_the_bits_are_where_the_protocol_says() -> None:
    mask = np.zeros(11, dtype=bool)
    mask[[0, 9]] = True
    assert zlib.decompress(base64.b64decode(pack_rows(mask).bitmap)) == bytes([0b1, 0b10])


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (RowSet(count=1, bitmap="no base64!"), "expected base64 of zlib-compressed bits"),
        (RowSet(count=1, bitmap=base64.b64encode(b"plain").decode()), "zlib-compressed"),
        (RowSet(count=1, bitmap=packed(b"\1")), r"expected 2 bytes for 11 rows, got 1"),
        (RowSet(count=1, bitmap=packed(b"\1\0\0")), r"expected 2 bytes for 11 rows, got more"),
        (RowSet(count=1, bitmap=packed(b"\0\x80")), "expected rows below 11"),
        (RowSet(count=3, bitmap=packed(b"\1\0")), r"expected count 1 as in bitmap, got 3"),
        (RowSet(count=3), "item_emb.dropped.bitmap"),
    ],
)
def test_a_damaged_row_set_is_refused_with_its_path(rows: RowSet, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        unpack_rows(rows, 11, "item_emb.dropped")
    assert str(caught.value).startswith("item_emb.dropped")


def test_no_more_is_unpacked_than_the_table_has_rows() -> None:
    bomb = RowSet(count=0, bitmap=packed(bytes(50_000_000)))
    with pytest.raises(RecipeError, match="got more"):
        unpack_rows(bomb, 100)
