"""A step's gradient at its look-ups against loops over occurrences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.statistics.step_gradient import at_look_ups

ROWS, DIM = 9, 3
WHOLE = torch.eye(DIM)


def slow_totals(ids: list[int], pairs: list[tuple[int, torch.Tensor]]) -> torch.Tensor:
    """For each occurrence, the float64 sum of all gradient entries of its row."""
    out = torch.zeros(len(ids), DIM, dtype=torch.float64)
    for place, row in enumerate(ids):
        for other, value in pairs:
            if other == row:
                out[place] += value.double()
    return out


def project(
    grad: torch.Tensor, ids: torch.Tensor, basis: torch.Tensor, given: torch.Tensor | None = None
) -> tuple[torch.Tensor, bool]:
    out = torch.full((ids.numel(), basis.shape[1]), torch.nan)
    return out, at_look_ups(grad, ids, basis, out, given=given)


def sparse(rows: list[int], values: torch.Tensor) -> torch.Tensor:
    index = torch.tensor([rows], dtype=torch.int64)
    return torch.sparse_coo_tensor(index, values, (ROWS, DIM), check_invariants=True)


@pytest.mark.parametrize("coalesce", [True, False])
@given(
    ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12),
    rows=st.lists(st.integers(0, ROWS - 1), max_size=12),
    seed=st.integers(0, 99),
)
def test_a_sparse_gradient_of_other_rows_equals_a_loop(
    coalesce: bool, ids: list[int], rows: list[int], seed: int
) -> None:
    """Gradient rows without a look-up (another model's) are left out, missing ones are zero."""
    values = torch.randn(len(rows), DIM, generator=torch.Generator().manual_seed(seed))
    grad = sparse(rows, values)
    found, whole = project(grad.coalesce() if coalesce else grad, torch.tensor(ids), WHOLE)
    truth = slow_totals(ids, list(zip(rows, values, strict=True)))
    if whole:
        torch.testing.assert_close(found.double(), truth, atol=1e-5, rtol=1e-5)
    else:
        assert (sorted(set(rows)) if coalesce else rows) == ids
        torch.testing.assert_close(found, grad.coalesce().values() if coalesce else values)


@pytest.mark.parametrize("told", [True, False])
@given(ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=20))
def test_of_one_forward_and_backward_each_look_up_has_its_part(ids: list[int], told: bool) -> None:
    table = torch.nn.Embedding(ROWS, DIM, sparse=True)
    wanted, given_ids = torch.randn(len(ids), DIM), torch.tensor(ids)
    (table(given_ids) * wanted).sum().backward()
    grad = table.weight.grad
    assert grad is not None
    before = grad.to_dense()
    basis = torch.randn(DIM, 2)
    found, whole = project(grad, torch.tensor(ids), basis, given_ids if told else None)
    assert not whole
    torch.testing.assert_close(found, wanted @ basis, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grad.to_dense(), before, msg="the gradient itself was written")


def test_a_dense_gradient_of_tied_weights_is_taken_at_the_rows_of_the_batch_alone() -> None:
    grad = torch.randn(ROWS, DIM)
    found, whole = project(grad, torch.tensor([4, 1, 4]), WHOLE)
    assert whole
    torch.testing.assert_close(found, grad[[4, 1, 4]])


def test_ids_that_lie_where_others_lay_are_told_by_their_number() -> None:
    """The memory of a gradient's indices holds a batch: a shorter view of it is another one."""
    table, ids = torch.nn.Embedding(ROWS, DIM, sparse=True), torch.tensor([3, 1, 3, 2])
    (wanted := table(ids)).sum().backward()
    grad = table.weight.grad
    assert grad is not None
    found, whole = project(grad, ids[:2], WHOLE, ids[:2])
    assert whole
    torch.testing.assert_close(found, torch.tensor([[2.0], [1.0]]).expand_as(wanted[:2]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_gradients_of_other_number_types_are_float32(dtype: torch.dtype) -> None:
    for grad in (
        torch.ones(ROWS, DIM, dtype=dtype),
        sparse([2, 2, 0], torch.ones(3, DIM, dtype=dtype)),
    ):
        found, _ = project(grad, torch.tensor([2, 2, 0]), WHOLE)
        assert found.dtype == torch.float32
        assert found[2].tolist() == [1.0] * DIM
