"""A step's gradient of a table, seen at the step's look-ups."""

from __future__ import annotations

import torch


def at_look_ups(
    grad: torch.Tensor,
    ids: torch.Tensor,
    basis: torch.Tensor,
    out: torch.Tensor,
    *,
    given: torch.Tensor | None = None,
) -> bool:
    """Project `grad` and take it at `ids`, without a host synchronisation off the CPU.

    Args:
        grad: the table's gradient, dense `[N, D]` or sparse COO, coalesced or not. Rows that no
            look-up names are left out, look-ups without a row are zero.
        ids: `[B]` int64, at least one.
        basis: `[D, K]` float32.
        out: `[B, K]` float32, written: the projected gradient at each look-up.
        given: the tensor of ids that the forward pass took, if it was one: where autograd keeps its
            memory as the gradient's indices, there is nothing to compare.

    Returns:
        True: each holds the gradient of its row over the whole batch. False: its own part of it.
    """
    if not grad.is_sparse:
        torch.mm(grad.index_select(0, ids).float(), basis, out=out)
        return True
    indices, values = grad._indices(), grad._values().float()
    if (given is not None and _same_memory(indices, given)) or (
        indices.device.type == "cpu" and torch.equal(indices[0], ids)
    ):
        # What one forward and one backward pass leave.
        torch.mm(values, basis, out=out)
        return False
    if indices.numel() == 0:
        out.zero_()
        return True
    rows, order = indices[0].sort()
    row = torch.zeros_like(rows)
    torch.cumsum(rows[1:] != rows[:-1], 0, out=row[1:])
    values = (values @ basis).index_select(0, order)
    sums = torch.zeros_like(values).index_add_(0, row, values)
    place = torch.searchsorted(rows, ids).clamp_(max=rows.numel() - 1)
    present = rows.index_select(0, place) == ids
    found = sums.index_select(0, row.index_select(0, place))
    out.copy_(torch.where(present.unsqueeze(1), found, 0.0))
    return True


def _same_memory(indices: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether `[1, B]` indices are the ids themselves, by where they lie."""
    return (
        indices.data_ptr() == given.data_ptr()
        and indices.numel() == given.numel()
        and indices.dtype == given.dtype
    )
