"""A step's gradient of a table, seen at the step's look-ups."""

from __future__ import annotations

from typing import NamedTuple

import torch


class StepGradient(NamedTuple):
    """Projected gradient at each look-up of a step."""

    values: torch.Tensor
    """`[B, K]` float32."""
    whole: bool
    """True: each holds the gradient of its row over the whole batch. False: its own part of it."""


def at_look_ups(grad: torch.Tensor, ids: torch.Tensor, basis: torch.Tensor) -> StepGradient:
    """Project `grad` and take it at `ids`, without a host synchronisation off the CPU.

    Args:
        grad: the table's gradient, dense `[N, D]` or sparse COO, coalesced or not. Rows that no
            look-up names are left out, look-ups without a row are zero.
        ids: `[B]` int64, at least one.
        basis: `[D, K]` float32.
    """
    if not grad.is_sparse:
        return StepGradient(grad.index_select(0, ids).float() @ basis, True)
    rows, values = grad._indices()[0], grad._values().float() @ basis
    if rows.device.type == "cpu" and torch.equal(rows, ids):
        # What one forward and one backward pass leave.
        return StepGradient(values, False)
    if rows.numel() == 0:
        return StepGradient(values.new_zeros(ids.numel(), basis.shape[1]), True)
    rows, order = rows.sort()
    row = torch.zeros_like(rows)
    torch.cumsum(rows[1:] != rows[:-1], 0, out=row[1:])
    sums = torch.zeros_like(values).index_add_(0, row, values.index_select(0, order))
    place = torch.searchsorted(rows, ids).clamp_(max=rows.numel() - 1)
    present = rows.index_select(0, place) == ids
    found = sums.index_select(0, row.index_select(0, place))
    return StepGradient(torch.where(present.unsqueeze(1), found, 0.0), True)
