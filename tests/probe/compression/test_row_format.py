"""Packed rows are the bytes PyTorch's own look-ups read, and as near the weights as they can be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gradtracer.compression.row_format import (
    BITS,
    decode,
    encode,
    pack_bits,
    row_bytes,
    stored_as,
    unpack_bits,
)
from gradtracer.exceptions import NotCompressible
from gradtracer_schemas import Quantization

EVERY: tuple[Quantization, ...] = ("FP32", "FP16", "BF16", "INT8", "INT4", "INT2")


def torchs_own(weight: Tensor, bits: int, optimised: bool) -> Tensor:
    """The table as PyTorch's own prepacking and unpacking give it back."""
    ops = torch.ops.quantized
    if bits == 8:
        return ops.embedding_bag_byte_unpack(ops.embedding_bag_byte_prepack(weight))
    pack = {4: ops.embedding_bag_4bit_prepack, 2: ops.embedding_bag_2bit_prepack}[bits]
    unpack = {4: ops.embedding_bag_4bit_unpack, 2: ops.embedding_bag_2bit_unpack}[bits]
    return unpack(pack(weight, optimised))


def spread(weight: Tensor, seen: Tensor) -> float:
    return float((seen - weight).square().mean())


def table(rows: int = 2000, width: int = 32) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(7))


@given(st.integers(1, 9), st.integers(1, 11), st.sampled_from(EVERY), st.integers(0, 99))
def test_a_stored_row_has_the_bytes_that_are_said_and_comes_back(
    rows: int, width: int, quantization: Quantization, seed: int
) -> None:
    weight = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    stored = encode(weight, quantization)
    assert stored.shape[1] * stored.element_size() == row_bytes(quantization, width)
    seen = decode(stored, quantization, width)
    assert seen.shape == weight.shape
    step = (weight.amax(1) - weight.amin(1)) / (2 ** BITS.get(quantization, 8) - 1)
    if quantization in BITS:
        # nothing is off by more than the full span over the levels, whatever the range chosen
        assert ((seen - weight).norm(dim=1) <= (step + 2e-3) * width**0.5).all()
    else:
        assert torch.allclose(seen, weight, rtol=8e-3)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_pytorch_reads_the_same_numbers_out_of_the_same_bytes(bits: int) -> None:
    quantization = {number: name for name, number in BITS.items()}[bits]
    stored = encode(table(), quantization)
    name = "byte" if bits == 8 else f"{bits}bit"
    theirs = getattr(torch.ops.quantized, f"embedding_bag_{name}_unpack")(stored)
    assert torch.allclose(theirs, decode(stored, quantization, 32), atol=1e-6)


def test_eight_bits_are_exactly_those_of_pytorch() -> None:
    assert torch.allclose(stored_as(table(), "INT8"), torchs_own(table(), 8, False), atol=1e-6)


@pytest.mark.parametrize(("bits", "at_most"), [(4, 1.04), (2, 0.6)])
@pytest.mark.parametrize("width", [16, 64])
def test_the_range_is_as_good_as_pytorchs_optimised_one_or_better(
    bits: int, at_most: float, width: int
) -> None:
    weight = table(1000, width)
    quantization = {number: name for name, number in BITS.items()}[bits]
    ours = spread(weight, stored_as(weight, quantization))
    if bits == 2 and width == 16:
        at_most = 0.85
    assert ours <= at_most * spread(weight, torchs_own(weight, bits, True))
    assert ours < spread(weight, torchs_own(weight, bits, False))


@pytest.mark.parametrize("quantization", EVERY)
def test_rows_of_equal_weights_and_of_zeros_are_exact(quantization: Quantization) -> None:
    weight = torch.tensor([[0.0] * 5, [0.5] * 5, [-2.0] * 5])
    assert torch.equal(stored_as(weight, quantization), weight)


@pytest.mark.parametrize("quantization", EVERY)
def test_tiny_weights_keep_most_of_themselves(quantization: Quantization) -> None:
    weight = table() * 1e-4
    share = spread(weight, stored_as(weight, quantization)) / float(weight.square().mean())
    assert share < (0.15 if quantization == "INT2" else 0.02)


@pytest.mark.parametrize("quantization", EVERY)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_refused_by_its_row(
    quantization: Quantization, bad: float
) -> None:
    weight = table()
    weight[1717, 3] = bad
    with pytest.raises(NotCompressible, match=r"NaN or infinity in 1 of \d+ rows"):
        encode(weight, quantization)


@pytest.mark.parametrize(("quantization", "better"), [("FP16", "BF16"), ("INT4", "INT8")])
def test_a_weight_beyond_half_precision_is_refused_with_what_would_hold_it(
    quantization: Quantization, better: Quantization
) -> None:
    weight = table()
    weight[3, 3] = 1e5
    with pytest.raises(NotCompressible, match=f"got 100000; store it as {better}"):
        encode(weight, quantization)
    assert spread(weight, stored_as(weight, better)) < 1e3


def test_no_rows_at_all_are_stored_as_such() -> None:
    assert all(len(encode(torch.empty(0, 4), each)) == 0 for each in EVERY)


def test_chosen_rows_are_stored_in_the_order_asked_for() -> None:
    ids = torch.tensor([5, 3, 1999])
    assert torch.equal(encode(table(), "INT4", ids), encode(table()[ids], "INT4"))


@given(st.sampled_from([1, 2, 4, 8]), st.lists(st.integers(0, 255), max_size=40))
def test_bits_come_back(bits: int, numbers: list[int]) -> None:
    codes = torch.tensor([[number % 2**bits for number in numbers]], dtype=torch.uint8)
    packed = pack_bits(codes, bits)
    assert packed.shape[1] == -(-len(numbers) * bits // 8)
    assert torch.equal(unpack_bits(packed, bits, len(numbers)), codes)
