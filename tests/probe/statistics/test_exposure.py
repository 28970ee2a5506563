"""Look-up counts against a plain loop."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.statistics.exposure import Exposure

CPU = torch.device("cpu")


@given(st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=8))
def test_counts_equal_a_plain_count_of_every_occurrence(batches: list[list[int]]) -> None:
    exposure = Exposure(7, CPU)
    truth: Counter[int] = Counter()
    for batch in batches:
        exposure.add(torch.tensor(batch, dtype=torch.int64))
        truth.update(batch)
    assert exposure.counts.tolist() == [truth[row] for row in range(7)]
    assert exposure.total == truth.total()


def test_an_empty_batch_counts_nothing() -> None:
    exposure = Exposure(3, CPU)
    exposure.add(torch.zeros(0, dtype=torch.int64))
    assert exposure.counts.tolist() == [0, 0, 0]


def test_a_table_of_one_row_counts_every_look_up() -> None:
    exposure = Exposure(1, CPU)
    exposure.add(torch.zeros(50, dtype=torch.int64))
    assert exposure.counts.tolist() == [50]


def test_counts_widen_before_a_row_could_overflow() -> None:
    exposure = Exposure(2, CPU)
    exposure.counts[0] = 2**31 - 2
    exposure.total = 2**31 - 2
    exposure.add(torch.tensor([0]))
    assert exposure.counts.dtype == torch.int32
    exposure.add(torch.tensor([0, 0, 1]))
    assert exposure.counts.dtype == torch.int64
    assert exposure.counts.tolist() == [2**31 + 1, 1]


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_halfway_tells_the_rows_first_seen_in_the_later_part(batch: int) -> None:
    g = torch.Generator().manual_seed(0)
    stream = (torch.rand(4_000, generator=g) ** 4 * 500).long()
    exposure = Exposure(500, CPU)
    for start in range(0, stream.numel(), batch):
        exposure.add(stream[start : start + batch])
    halfway = exposure.halfway()
    assert halfway is not None
    early = round(halfway.share * stream.numel())
    assert 0.33 < halfway.share <= 0.5
    new = set(stream.tolist()) - set(stream[:early].tolist())
    assert halfway.since == len(new)


def test_halfway_is_unknown_at_the_beginning() -> None:
    exposure = Exposure(500, CPU)
    exposure.add(torch.arange(100))
    assert exposure.halfway() is None
