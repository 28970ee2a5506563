"""Packed layers behave as the layers they stand for, in plain, compiled and exported models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradtracer.compression.packed_layers import PackedEmbedding, PackedEmbeddingBag, PackedLinear
from gradtracer.compression.packed_table import PackedTable
from gradtracer.exceptions import NotCompressible
from gradtracer_schemas import Quantization


def table(quantization: Quantization = "INT4", width: int = 6, tiers: bool = True) -> PackedTable:
    weight = torch.randn(40, width, generator=torch.Generator().manual_seed(3))
    at = torch.arange(40)
    if not tiers:
        return PackedTable.from_weight(weight, quantization)
    return PackedTable.from_weight(
        weight, quantization, tiers=[("INT8", at < 5)], dropped=at % 11 == 10
    )


def ids(*shape: int) -> Tensor:
    return torch.randint(0, 12, shape, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("padding", [None, 3])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_agrees_with_pytorchs(
    mode: str, padding: int | None, last: bool, dtype: torch.dtype
) -> None:
    packed = PackedEmbeddingBag(
        table(),
        mode,  # type: ignore[arg-type]
        padding_idx=padding,
        include_last_offset=last,
    ).eval()
    twin = nn.EmbeddingBag.from_pretrained(
        packed.weight, mode=mode, padding_idx=padding, include_last_offset=last
    )
    flat, offsets = ids(30).to(dtype), torch.tensor([0, 0, 5, 12, 12, 30], dtype=dtype)
    assert torch.allclose(packed(flat, offsets), twin(flat, offsets), atol=1e-5)
    assert torch.allclose(packed(flat.view(5, 6)), twin(flat.view(5, 6)), atol=1e-5)
    if mode == "sum":
        factors = torch.linspace(-1, 1, 30)
        assert torch.allclose(
            packed(flat, offsets, factors), twin(flat, offsets, factors), atol=1e-5
        )


def test_a_bag_says_what_does_not_go_together() -> None:
    packed = PackedEmbeddingBag(table(), "mean").eval()
    with pytest.raises(ValueError, match=r"per_sample_weights with mode 'sum', got 'mean'"):
        packed(ids(2, 3), per_sample_weights=torch.ones(2, 3))
    with pytest.raises(ValueError, match="no offsets for input of two dimensions"):
        packed(ids(2, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"input \[B, L\], or \[n\] with offsets"):
        packed(ids(3))
    with pytest.raises(ValueError, match=r"shape \(2, 3\) as input, got \(3,\)"):
        PackedEmbeddingBag(table(), "sum").eval()(ids(2, 3), per_sample_weights=torch.ones(3))


def test_a_linear_layer_multiplies_by_what_its_weight_reads_as() -> None:
    bias = nn.Parameter(torch.arange(40.0))
    packed = PackedLinear(table(tiers=False), bias).eval()
    x = torch.randn(2, 3, 6)
    assert torch.allclose(packed(x), x @ packed.weight.T + bias, atol=1e-4)
    assert PackedLinear(table()).eval()(x).shape == (2, 3, 40)


class Model(nn.Module):
    def __init__(self, tiers: bool, width: int) -> None:
        super().__init__()
        self.item = PackedEmbedding(table(width=width, tiers=tiers))
        self.history = PackedEmbeddingBag(table("INT8", width, tiers), "mean", padding_idx=0)
        self.head = PackedLinear(table("INT2", width, tiers), nn.Parameter(torch.zeros(40)))

    def forward(self, item: Tensor, history: Tensor) -> Tensor:
        user = self.history(history)
        return self.head(user + self.item(item)) + self.item.scores(user)


@pytest.mark.parametrize("width", [6, 7])
@pytest.mark.parametrize("tiers", [False, True])
def test_a_model_is_compiled_as_one_graph_and_exported_for_any_batch(
    tiers: bool, width: int
) -> None:
    model = Model(tiers, width).eval()
    wanted = model(ids(4), ids(4, 5))
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(ids(4), ids(4, 5)), wanted, atol=1e-6)
    batch = torch.export.Dim("batch", min=2)
    shapes = ({0: batch}, {0: batch})
    exported = torch.export.export(model, (ids(4), ids(4, 5)), dynamic_shapes=shapes)
    assert torch.equal(exported.module()(ids(4), ids(4, 5)), wanted)
    assert exported.module()(ids(9), ids(9, 5)).shape == (9, 40)
    names = {str(node.target) for node in exported.graph.nodes}
    assert {"gradtracer.packed_bags.default", "gradtracer.packed_scores.default"} <= names


def test_training_a_packed_layer_is_refused_with_what_to_do_and_the_rest_still_trains() -> None:
    model = Model(True, 6)
    with pytest.raises(NotCompressible, match=r"expected model.eval\(\) or torch.no_grad\(\)"):
        model(ids(4), ids(4, 5))
    with pytest.raises(NotCompressible, match="packed rows cannot learn"):
        model.item.requires_grad_()
    with torch.no_grad():
        assert model(ids(4), ids(4, 5)).shape == (4, 40)
    for layer in (model.item, model.history, model.head):
        layer.eval()
    model(ids(4), ids(4, 5)).sum().backward()
    assert model.head.bias.grad is not None


def test_nothing_of_a_packed_layer_reaches_an_optimizer() -> None:
    assert [name for name, _ in Model(True, 6).named_parameters()] == ["head.bias"]
