"""Effective rank against a full singular value decomposition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gradtracer.statistics.effective_rank import effective_rank


def slow_rank(matrix: npt.NDArray[np.float64]) -> float:
    """Roy and Vetterli by the definition."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    p = singular / singular.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def table(rows: int, dim: int, rank: int | None = None) -> torch.Tensor:
    g = torch.Generator().manual_seed(rows + dim)
    if rank is None:
        return torch.randn(rows, dim, generator=g)
    return torch.randn(rows, rank, generator=g) @ torch.randn(rank, dim, generator=g)


@pytest.mark.parametrize(
    ("rows", "dim", "rank"),
    [(400, 16, None), (400, 16, 3), (50, 64, None), (11, 5, None), (300, 1, None), (90, 7, 1)],
)
def test_value_equals_the_definition(rows: int, dim: int, rank: int | None) -> None:
    weight = table(rows, dim, rank)
    found = effective_rank(weight, torch.arange(rows))
    assert found is not None
    assert found.value == pytest.approx(slow_rank(weight.double().numpy()), rel=1e-3)
    assert found.rows == rows


def test_error_equals_leaving_out_each_tenth_by_hand() -> None:
    weight = table(200, 8, 4) + 0.1 * table(200, 8)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    found = effective_rank(weight, order)
    assert found is not None
    parts = np.array_split(weight[order].double().numpy(), 10)
    left_out = np.array([slow_rank(np.concatenate(parts[:k] + parts[k + 1 :])) for k in range(10)])
    error = np.sqrt(0.9 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.error == pytest.approx(error, rel=1e-4)


def test_the_interval_holds_the_rank_of_the_whole_table() -> None:
    weight = table(20_000, 12, 5) + 0.2 * table(20_000, 12)
    truth = slow_rank(weight.double().numpy())
    held = 0
    for seed in range(40):
        rows = torch.randperm(20_000, generator=torch.Generator().manual_seed(seed))[:600]
        found = effective_rank(weight, rows)
        assert found is not None
        held += found.interval[0] <= truth <= found.interval[1]
    assert held >= 34


def test_independent_entries_have_the_rank_of_the_null() -> None:
    found = effective_rank(table(2_000, 32), torch.arange(2_000))
    assert found is not None
    assert found.value == pytest.approx(found.null, rel=0.01)


def test_directions_that_hold_the_norm_are_counted() -> None:
    weight = table(500, 16, 3)
    found = effective_rank(weight, torch.arange(500))
    assert found is not None
    assert found.dim_99 == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_tables_are_measured_in_full_precision(dtype: torch.dtype) -> None:
    weight = table(300, 8)
    half = effective_rank(weight.to(dtype), torch.arange(300))
    full = effective_rank(weight, torch.arange(300))
    assert half is not None
    assert full is not None
    assert half.value == pytest.approx(full.value, rel=0.01)


def test_too_few_rows_zeros_and_values_that_are_not_finite_have_no_rank() -> None:
    broken = table(30, 4)
    broken[3, 1] = float("nan")
    assert effective_rank(table(9, 4), torch.arange(9)) is None
    assert effective_rank(torch.zeros(30, 4), torch.arange(30)) is None
    assert effective_rank(broken, torch.arange(30)) is None
    assert effective_rank(broken, torch.arange(10, 30)) is not None
