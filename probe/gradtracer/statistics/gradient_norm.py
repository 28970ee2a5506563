"""Norms of gradients and weights, for many tensors at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def row_norms(gradient: torch.Tensor) -> torch.Tensor:
    """L2 norm of each output unit's gradient: `[O, ...]` to `[O]` float32.

    Squares under 1e-45 vanish, so a row below about 1e-22 counts as zero.
    """
    if gradient.dim() <= 1:
        return gradient.detach().abs().to(torch.float32).reshape(-1)
    dims = tuple(range(1, gradient.dim()))
    return torch.linalg.vector_norm(gradient.detach(), dim=dims, dtype=torch.float32)


def norms(tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """L2 norm of each of P tensors on one device, scalars in float32. Not finite where it is."""
    return tuple(torch._foreach_norm(list(tensors), 2, torch.float32))  # pyright: ignore
