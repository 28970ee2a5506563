"""Spectra of counts in blocks, against counting by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.statistics.look_up_spectrum import look_up_spectrum, spectrum_of

counts_strategy = st.lists(st.one_of(st.integers(0, 9), st.integers(65_530, 65_545)), max_size=40)


@given(counts_strategy, st.integers(1, 9))
def test_a_spectrum_is_the_same_in_blocks_of_any_size(counts: list[int], block: int) -> None:
    parts = [np.array(counts[k : k + block], dtype=int) for k in range(0, len(counts), block)]
    found = look_up_spectrum(parts)
    truth = sorted(Counter(c for c in counts if c > 0).items())
    assert list(zip(found.look_ups.tolist(), found.rows.tolist(), strict=True)) == truth
    assert (found.size, found.total) == (len(counts), sum(counts))
    assert found.seen == sum(c > 0 for c in counts)


@given(counts_strategy, st.integers(1, 12))
def test_the_share_of_the_head_is_that_of_the_rows_sorted(counts: list[int], one_in: int) -> None:
    ordered = sorted((c for c in counts if c > 0), reverse=True)
    found = spectrum_of(np.array(counts, dtype=int)).share_of_head(one_in)
    head = ordered[: max(1, len(ordered) // one_in)]
    assert found == pytest.approx(sum(head) / sum(ordered) if ordered else 0.0)


def test_a_spectrum_is_its_own() -> None:
    found = spectrum_of(np.array([3, 0, 3, 1]))
    assert spectrum_of(found) is found
