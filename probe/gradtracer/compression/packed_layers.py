"""Layers over a `PackedTable`, in place of `nn.Embedding`, `nn.EmbeddingBag` and `nn.Linear`."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradtracer.compression.packed_table import PackedTable


class _OverTable(nn.Module):
    """A layer whose weight is a packed table, perhaps one that other layers have too."""

    table: PackedTable

    def __init__(self, table: PackedTable) -> None:
        super().__init__()
        self.table = table

    @property
    def weight(self) -> Tensor:
        """The weight `[N, D]` as it is read back, decoded anew: N x D numbers each time."""
        return self.table.weight

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """As the table's: refuses to be trained."""
        self.table.requires_grad_(requires_grad)
        return self


class PackedEmbedding(_OverTable):
    """Reads packed rows as `nn.Embedding` reads its weight; it cannot be trained.

    `x @ layer.weight.T` is `layer.scores(x)`, which never holds the whole table.
    """

    def __init__(self, table: PackedTable, padding_idx: int | None = None) -> None:
        super().__init__(table)
        self.num_embeddings = table.layout.rows
        self.embedding_dim = table.layout.width
        self.padding_idx = padding_idx

    def forward(self, input: Tensor) -> Tensor:
        """Rows `[..., D]` of ids `[...]` int32 or int64.

        Raises:
            IndexError: an id is negative or not below N (on the CPU).
            NotCompressible: in training mode with gradients on.
        """
        self.table.refuse_training(self.training)
        return self.table.rows(input)

    def scores(self, x: Tensor) -> Tensor:
        """The product x Wᵀ `[..., N]` of `x` `[..., D]`."""
        return self.table.scores(x)


class PackedEmbeddingBag(_OverTable):
    """Sums, averages or takes the maximum of packed rows as `nn.EmbeddingBag`; not trainable."""

    def __init__(
        self,
        table: PackedTable,
        mode: Literal["sum", "mean", "max"] = "mean",
        *,
        padding_idx: int | None = None,
        include_last_offset: bool = False,
    ) -> None:
        super().__init__(table)
        self.num_embeddings = table.layout.rows
        self.embedding_dim = table.layout.width
        self.mode = mode
        self.padding_idx = padding_idx
        self.include_last_offset = include_last_offset

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """One row `[B, D]` a bag; an empty bag gives zeros.

        Args:
            input: Ids `[B, L]`, or `[n]` with offsets, int32 or int64.
            offsets: `[B]` where each bag begins, or `[B + 1]` with `include_last_offset`.
            per_sample_weights: Factors of the shape of `input`, for sums only.

        Raises:
            IndexError: an id is negative or not below N (on the CPU).
            ValueError: `input` and `offsets`, or mode and weights, do not go together.
            NotCompressible: in training mode with gradients on.
        """
        self.table.refuse_training(self.training)
        ids, offsets, weights = self._flat(input, offsets, per_sample_weights)
        if self.mode == "max":
            rows = self.table.rows(ids)
            every = torch.arange(ids.shape[0], device=ids.device)
            if self.padding_idx is not None:
                # the row at the end stands for padding, and is left out of the bags
                rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
                every = torch.where(ids == self.padding_idx, ids.shape[0], every)
            padding = None if self.padding_idx is None else ids.shape[0]
            return F.embedding_bag(every, rows, offsets.long(), mode="max", padding_idx=padding)
        counted = None if self.padding_idx is None else (ids != self.padding_idx).float()
        if counted is not None:
            weights = counted if weights is None else weights * counted
        sums = self.table.bags(ids, offsets, weights)
        if self.mode == "sum":
            return sums
        return sums / self._sizes(offsets, ids, counted).clamp(min=1).to(sums.dtype)[:, None]

    def scores(self, x: Tensor) -> Tensor:
        """The product x Wᵀ `[..., N]` of `x` `[..., D]`."""
        return self.table.scores(x)

    def extra_repr(self) -> str:
        """How the rows of a bag become one."""
        return f"mode={self.mode!r}"

    def _flat(
        self, input: Tensor, offsets: Tensor | None, weights: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Ids `[n]`, the beginning of each bag, and float32 factors."""
        if weights is not None:
            if self.mode != "sum":
                raise ValueError(f"expected per_sample_weights with mode 'sum', got {self.mode!r}")
            if weights.shape != input.shape:
                raise ValueError(
                    f"expected per_sample_weights of shape {tuple(input.shape)} as input, got "
                    f"{tuple(weights.shape)}"
                )
            weights = weights.reshape(-1).float()
        if input.dim() == 2:
            if offsets is not None:
                raise ValueError("expected no offsets for input of two dimensions: a row is a bag")
            bags, length = input.shape
            offsets = torch.arange(bags, dtype=input.dtype, device=input.device) * length
        elif input.dim() != 1 or offsets is None:
            raise ValueError(
                f"expected input [B, L], or [n] with offsets, got {input.dim()} dimensions"
            )
        else:
            offsets = (offsets[:-1] if self.include_last_offset else offsets).to(input.dtype)
        return input.reshape(-1), offsets, weights

    @staticmethod
    def _sizes(offsets: Tensor, ids: Tensor, counted: Tensor | None) -> Tensor:
        """Ids in each bag, less padding."""
        counted = ids.new_ones(ids.shape) if counted is None else counted
        running = F.pad(counted.cumsum(0), (1, 0))
        before = running[offsets.long()]
        # len(), a slice or a padding would fix the number of bags in an exported program
        last = torch.arange(before.shape[0], device=ids.device) == before.shape[0] - 1
        return torch.where(last, running[-1], before.roll(-1)) - before


class PackedLinear(_OverTable):
    """x Wᵀ + b with W `[out, in]` packed by rows; not trainable, but gradients reach x."""

    bias: nn.Parameter | None

    def __init__(self, table: PackedTable, bias: nn.Parameter | None = None) -> None:
        super().__init__(table)
        self.out_features = table.layout.rows
        self.in_features = table.layout.width
        self.register_parameter("bias", bias)

    def forward(self, input: Tensor) -> Tensor:
        """`[..., out]` of `input` `[..., in]`.

        Raises:
            NotCompressible: in training mode with gradients on.
        """
        self.table.refuse_training(self.training)
        scores = self.table.scores(input)
        return scores if self.bias is None else scores + self.bias
