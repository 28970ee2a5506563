"""Rows written in words are what `index_copy_` would have written, to the bit."""

from __future__ import annotations

import pytest
import torch

from gradtracer.auto_fix.put_rows import put_rows

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 3, 8, 64])
@pytest.mark.parametrize("offset", [0, 1])
def test_any_rows_are_written_and_no_others(dtype: torch.dtype, width: int, offset: int):
    g = torch.Generator().manual_seed(width)
    whole = torch.randn(50 * width + offset, generator=g).to(dtype)
    table, twin = (each[offset:].view(50, width) for each in (whole.clone(), whole.clone()))
    rows = torch.tensor([7, 0, 49, 7])
    values = torch.randn(3, width, generator=g).to(dtype)[[0, 1, 2, 0]]
    values[1] = torch.nan
    put_rows(table, rows, values)
    twin.index_copy_(0, rows, values)
    assert torch.equal(table.view(torch.uint8), twin.view(torch.uint8))


def test_a_table_that_is_a_part_of_another_is_written_too():
    whole = torch.zeros(10, 32)
    put_rows(whole[:, 8:24], torch.tensor([3]), torch.ones(1, 16))
    assert whole.sum() == whole[3, 8:24].sum() == 16


def test_no_rows_are_no_work():
    table = torch.ones(4, 8)
    put_rows(table, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 8))
    assert table.sum() == 32
