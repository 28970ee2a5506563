"""A packed table reads, sums and scores as the table it decodes to, fast way and slow."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gradtracer.compression import look_up
from gradtracer.compression.packed_table import PackedTable
from gradtracer.compression.row_format import stored_as
from gradtracer.exceptions import NotCompressible
from gradtracer_schemas import Fallback, Quantization

EVERY: tuple[Quantization, ...] = ("FP32", "FP16", "BF16", "INT8", "INT4", "INT2")


def weights(rows: int = 60, width: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def tiered(
    weight: Tensor, fallback: Fallback = "zero", cold: Quantization = "INT4"
) -> tuple[PackedTable, Tensor, Tensor]:
    """A table of two tiers with dropped rows, and the masks of the first tier and the dropped."""
    at = torch.arange(len(weight))
    hot, gone = at % 3 == 0, at % 7 == 1
    gone &= ~hot
    return (
        PackedTable.from_weight(
            weight, cold, tiers=[("INT8", hot)], dropped=gone, fallback=fallback
        ),
        hot,
        gone,
    )


@pytest.mark.parametrize("quantization", EVERY)
@pytest.mark.parametrize("width", [1, 5, 6, 8])
def test_rows_are_what_the_format_makes_of_them(quantization: Quantization, width: int) -> None:
    weight = weights(width=width)
    table = PackedTable.from_weight(weight, quantization)
    ids = torch.tensor([[3, 59, 0], [3, 3, 7]])
    assert torch.allclose(table.rows(ids), stored_as(weight, quantization)[ids], atol=1e-6)
    assert torch.allclose(table.rows(ids.int()), table.rows(ids))
    assert table.rows(ids[:0]).shape == (0, 3, width)


@pytest.mark.parametrize("fallback", ["zero", "mean"])
@pytest.mark.parametrize("cold", EVERY)
def test_each_tier_keeps_its_format_and_dropped_rows_their_fallback(
    cold: Quantization, fallback: Fallback
) -> None:
    weight = weights()
    table, hot, gone = tiered(weight, fallback, cold)
    seen = table.weight
    assert torch.allclose(seen[hot], stored_as(weight[hot], "INT8"), atol=1e-6)
    rest = ~hot & ~gone
    assert torch.allclose(seen[rest], stored_as(weight[rest], cold), atol=1e-6)
    expected = weight[~gone].mean(dim=0, keepdim=True) if fallback == "mean" else weight[:1] * 0
    assert torch.allclose(
        seen[gone], stored_as(expected, cold).expand(int(gone.sum()), -1), atol=1e-6
    )


def test_a_table_of_which_nothing_is_kept_reads_as_zeros() -> None:
    every = torch.ones(60, dtype=torch.bool)
    table = PackedTable.from_weight(weights(), "INT4", dropped=every)
    assert torch.equal(table.weight, torch.zeros(60, 6))
    both = PackedTable.from_weight(weights(), "INT4", dropped=every, fallback="mean")
    assert torch.equal(both.weight, torch.zeros(60, 6))


@given(
    st.lists(st.integers(0, 59), min_size=0, max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
    st.booleans(),
    st.sampled_from(EVERY),
    st.booleans(),
)
def test_the_fast_way_agrees_with_the_slow_twin(
    numbers: list[int], cuts: list[int], weighted: bool, cold: Quantization, mapped: bool
) -> None:
    table = tiered(weights(), "mean", cold)[0]
    if not mapped:
        table = PackedTable.from_weight(weights(), cold)
    ids = torch.tensor(numbers, dtype=torch.int64)
    offsets = torch.tensor([0, *sorted(min(cut, len(numbers)) for cut in cuts)])
    factors = torch.linspace(-1, 1, len(numbers)) if weighted else None
    for starts in (offsets, None):
        fast = table.bags(ids, starts, factors)
        slow = torch.zeros_like(fast)
        for stored, place, bits in zip(
            table._stored(), table._places() or [None], table._bits, strict=True
        ):
            slow += look_up._portable(stored, place, bits, 6, ids, starts, factors)
        assert torch.allclose(fast, slow, atol=1e-4)


def test_an_id_that_is_no_row_is_an_error_as_in_any_embedding() -> None:
    plain = [PackedTable.from_weight(weights(), each) for each in EVERY]
    for table in (*plain, tiered(weights())[0], tiered(weights(), cold="FP16")[0]):
        for wrong in (-1, 60):
            with pytest.raises(IndexError, match=f"expected ids from 0 to 59, got .*{wrong}"):
                table.rows(torch.tensor([30, wrong]))


def test_scores_are_the_product_with_every_row_and_pass_gradients_to_what_is_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(look_up, "SCORED_ROWS", 16)
    table = tiered(weights())[0]
    x = weights(10, 6, 1).view(2, 5, 6).requires_grad_()
    assert torch.allclose(table.scores(x), x @ table.weight.T, atol=1e-5)
    (table.scores(x) * weights(1, 60, 2)).sum().backward()
    ours, x.grad = x.grad, None
    ((x @ table.weight.T) * weights(1, 60, 2)).sum().backward()
    assert ours is not None
    assert x.grad is not None
    assert torch.allclose(ours, x.grad, atol=1e-4)


def test_the_operators_keep_pytorchs_rules() -> None:
    table = tiered(weights(width=5))[0]
    stored, places, bits = table._stored(), table._places(), table._bits
    ids, offsets = torch.tensor([1, 4, 4]), torch.tensor([0, 0, 2])
    x = weights(3, 5).requires_grad_()
    ops = torch.ops.gradtracer
    torch.library.opcheck(
        ops.packed_bags.default, (stored, places, bits, 5, ids, offsets, torch.ones(3))
    )
    torch.library.opcheck(ops.packed_bags.default, (stored[:1], [], bits[:1], 5, ids, None, None))
    torch.library.opcheck(ops.packed_scores.default, (stored, places, bits, 5, 60, x))


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_a_table_is_the_same_after_a_round_trip(way: str) -> None:
    table = tiered(weights(), "mean")[0]
    if way == "deepcopy":
        other = copy.deepcopy(table)
    else:
        file = io.BytesIO()
        torch.save(table.state_dict() if way == "state_dict" else table, file)
        file.seek(0)
        if way == "pickle":
            other = torch.load(file, weights_only=False)
        else:
            other = PackedTable(table.layout)
            other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.weight, table.weight)


def test_what_is_saved_is_as_small_as_the_rows_and_a_bit_for_each() -> None:
    weight = weights(8000, 64)
    hot = torch.arange(8000) < 800
    table = PackedTable.from_weight(weight, "INT4", tiers=[("INT8", hot)])
    saved = sum(each.nbytes for each in table.state_dict().values())
    assert saved == 800 * 72 + 7200 * 36 + 1000


def test_look_ups_follow_the_dtype_that_the_model_is_moved_to() -> None:
    table = PackedTable.from_weight(weights().double(), "INT8")
    assert table.rows(torch.tensor([1])).dtype == torch.float64
    assert table.half().rows(torch.tensor([1])).dtype == torch.float16
    assert table.rows_0.dtype == torch.uint8


def test_nan_in_a_row_that_is_dropped_does_no_harm_and_elsewhere_is_named_by_its_id() -> None:
    weight = weights()
    gone = torch.arange(60) == 17
    weight[17] = float("nan")
    table = PackedTable.from_weight(weight, "INT4", dropped=gone, fallback="mean")
    assert table.weight.isfinite().all()
    with pytest.raises(NotCompressible, match=r"1 of 60 rows \(first: 17\)"):
        PackedTable.from_weight(weight, "INT4", tiers=[("INT8", torch.arange(60) > 40)])
