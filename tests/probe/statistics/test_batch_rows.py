"""Rows of a batch and their gradients against loops over occurrences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.statistics.batch_rows import RowIndex

CPU = torch.device("cpu")
ROWS, DIM = 9, 3


def slow_totals(ids: list[int], pairs: list[tuple[int, torch.Tensor]]) -> torch.Tensor:
    """For each occurrence, the float64 sum of all gradient entries of its row."""
    out = torch.zeros(len(ids), DIM, dtype=torch.float64)
    for place, row in enumerate(ids):
        for other, value in pairs:
            if other == row:
                out[place] += value.double()
    return out


def sparse(rows: list[int], values: torch.Tensor) -> torch.Tensor:
    index = torch.tensor([rows], dtype=torch.int64)
    return torch.sparse_coo_tensor(index, values, (ROWS, DIM), check_invariants=True)


def index(*, may_ask: bool) -> RowIndex:
    made = RowIndex(ROWS, CPU)
    # A device that must not be waited for takes the way without shortcuts.
    made._may_ask = may_ask
    return made


@pytest.mark.parametrize("may_ask", [True, False])
@given(ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=20))
def test_each_row_has_one_representative_and_its_count(may_ask: bool, ids: list[int]) -> None:
    rows = index(may_ask=may_ask)
    rows.group(torch.arange(ROWS))
    batch = rows.group(torch.tensor(ids))
    assert batch.count.tolist() == [ids.count(row) for row in ids]
    assert sorted(batch.ids[batch.is_first].tolist()) == sorted(set(ids))
    assert batch.ids[batch.first].tolist() == ids
    assert bool(batch.is_first[batch.first].all())


@pytest.mark.parametrize("may_ask", [True, False])
@pytest.mark.parametrize("coalesce", [True, False])
@given(
    ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12),
    rows=st.lists(st.integers(0, ROWS - 1), max_size=12),
    seed=st.integers(0, 99),
)
def test_sparse_totals_equal_a_loop(
    may_ask: bool, coalesce: bool, ids: list[int], rows: list[int], seed: int
) -> None:
    """Gradient rows without a look-up (another model's) are left out, missing ones are zero."""
    values = torch.randn(len(rows), DIM, generator=torch.Generator().manual_seed(seed))
    grad = sparse(rows, values)
    made = index(may_ask=may_ask)
    found = made.totals(grad.coalesce() if coalesce else grad, made.group(torch.tensor(ids)))
    truth = slow_totals(ids, list(zip(rows, values, strict=True)))
    torch.testing.assert_close(found.double(), truth, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("may_ask", [True, False])
@pytest.mark.parametrize("projected", [True, False])
@given(ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=20))
def test_totals_of_one_forward_and_backward_equal_a_loop(
    may_ask: bool, projected: bool, ids: list[int]
) -> None:
    table = torch.nn.Embedding(ROWS, DIM, sparse=True)
    wanted = torch.randn(len(ids), DIM)
    (table(torch.tensor(ids)) * wanted).sum().backward()
    grad = table.weight.grad
    assert grad is not None
    before = grad.to_dense()
    basis = torch.randn(DIM, 2) if projected else None
    made = index(may_ask=may_ask)
    found = made.totals(grad, made.group(torch.tensor(ids)), basis)
    truth = slow_totals(ids, list(zip(ids, wanted, strict=True)))
    if basis is not None:
        truth = truth @ basis.double()
    torch.testing.assert_close(found.double(), truth, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grad.to_dense(), before, msg="the gradient itself was written")


def test_a_dense_gradient_of_tied_weights_is_taken_at_the_rows_of_the_batch_alone() -> None:
    grad = torch.randn(ROWS, DIM)
    made = RowIndex(ROWS, CPU)
    found = made.totals(grad, made.group(torch.tensor([4, 1, 4])))
    torch.testing.assert_close(found, grad[[4, 1, 4]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_totals_of_other_number_types_are_float32(dtype: torch.dtype) -> None:
    made = RowIndex(ROWS, CPU)
    batch = made.group(torch.tensor([2, 2, 0]))
    for grad in (
        torch.ones(ROWS, DIM, dtype=dtype),
        sparse([2, 2, 0], torch.ones(3, DIM, dtype=dtype)),
    ):
        found = made.totals(grad, batch)
        assert found.dtype == torch.float32
        assert found[2].tolist() == [1.0] * DIM


def test_rows_of_an_earlier_batch_are_not_taken_for_rows_of_this_one() -> None:
    made = RowIndex(ROWS, CPU)
    made.group(torch.tensor([0, 1, 2, 3, 4, 5]))
    batch = made.group(torch.tensor([7, 3]))
    place, present = made.find(torch.arange(ROWS), batch)
    assert present.nonzero().flatten().tolist() == [3, 7]
    assert batch.ids[place[present]].tolist() == [3, 7]
