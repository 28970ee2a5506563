"""How far rows move at a step: those of the batch, and those that no example touched."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

_WITNESSES = 256
_SAMPLE = 256


class MovementTotals(NamedTuple):
    """Sums since the start, read at a report; plain floats."""

    path: float
    """Sum over sampled rows and steps of |update| of batch rows, in weight units."""
    rows: float
    """Number of terms in `path`."""
    touched: float
    """Sum of squared updates of witnesses while in the batch."""
    untouched: float
    """The same while not in the batch."""
    touched_square: float
    """Sum over steps of `touched` of the step, squared."""
    untouched_square: float
    """Sum over steps of `untouched` of the step, squared."""
    product: float
    """Sum over steps of their product."""
    steps: float
    """Steps observed by the witnesses."""


class Movement:
    """Update velocity of batch rows, and movement of random witness rows.

    At most 256 batch rows, evenly spaced in the batch, and 256 witnesses are looked at in a step:
    O(256 D), whatever the batch. Sums stay on the device.
    """

    def __init__(self, rows: int, device: torch.device, seed: int, excluded: int | None) -> None:
        generator = torch.Generator().manual_seed(seed)
        if rows > 64 * _WITNESSES:
            # Few draws are enough, without a list of all rows.
            candidates = torch.randint(
                rows, (4 * _WITNESSES,), generator=generator, device="cpu"
            ).unique()
        else:
            candidates = torch.arange(rows, device="cpu")
        order = torch.randperm(candidates.numel(), generator=generator, device="cpu")
        candidates = candidates[order[: _WITNESSES + 1]]
        if excluded is not None:
            candidates = candidates[candidates != excluded]
        self._witnesses = candidates[:_WITNESSES].clone().to(device)
        self.sums = torch.zeros(len(MovementTotals._fields), dtype=torch.float64, device=device)
        self._sampled: torch.Tensor | None = None
        self._counted = torch.ones(0, dtype=torch.bool, device=device)
        self._before: torch.Tensor | None = None
        self._present: torch.Tensor | None = None
        self._witness_before: torch.Tensor | None = None

    def before(
        self,
        weight: torch.Tensor,
        ids: torch.Tensor,
        grad: torch.Tensor | None,
        *,
        shared: bool = False,
    ) -> None:
        """Keep the rows of `weight` `[N, D]` that this step may move.

        Args:
            weight: the table.
            ids: `[B]` int64, B >= 1.
            grad: dense `[N, D]`; None leaves the witnesses out.
            shared: whether the gradient is also of examples that are not in `ids`: where it is not
                zero a witness counts as in the batch.
        """
        stride = -(-ids.numel() // _SAMPLE)
        sampled = ids[::stride].sort().values
        self._counted = torch.ones_like(sampled, dtype=torch.bool)
        torch.ne(sampled[1:], sampled[:-1], out=self._counted[1:])
        self._sampled, self._before = sampled, weight.index_select(0, sampled)
        if grad is not None:
            in_order = ids.sort().values
            place = torch.searchsorted(in_order, self._witnesses).clamp_(max=ids.numel() - 1)
            self._present = in_order.index_select(0, place) == self._witnesses
            if shared:
                self._present |= (grad.index_select(0, self._witnesses) != 0).any(dim=1)
            self._witness_before = weight.index_select(0, self._witnesses)

    def after(self, weight: torch.Tensor) -> None:
        """Measure the step that has just been taken."""
        if self._before is None or self._sampled is None:
            return
        moved = (weight.index_select(0, self._sampled) - self._before).float().norm(dim=1)
        counted = self._counted & torch.isfinite(moved)
        moved = torch.where(counted, moved, 0.0)
        terms = [moved.sum(dtype=torch.float64), counted.sum(dtype=torch.float64)]
        if self._witness_before is not None and self._present is not None:
            change = (weight.index_select(0, self._witnesses) - self._witness_before).float()
            squared = torch.nan_to_num(change.square().sum(dim=1, dtype=torch.float64), posinf=0.0)
            touched = torch.where(self._present, squared, 0.0).sum()
            untouched = torch.where(self._present, 0.0, squared).sum()
            terms += [touched, untouched, touched * touched, untouched * untouched]
            terms += [touched * untouched, torch.ones_like(touched)]
        self.sums[: len(terms)] += torch.stack(terms)
        self._before = self._witness_before = self._sampled = self._present = None

    def totals(self) -> MovementTotals:
        """Copy the sums to the host (reporting thread)."""
        return MovementTotals(*self.sums.tolist())


class DriftShare(NamedTuple):
    """Share of squared movement on rows absent from the batch."""

    value: float
    interval: tuple[float, float]
    steps: int


def drift_share(now: MovementTotals, level_z: float = 1.96) -> DriftShare | None:
    """Ratio estimate of untouched / (touched + untouched) over steps.

    Delta-method variance of a ratio of means (Cochran, Sampling Techniques, 1977, ch. 6).
    None with fewer than 30 observed steps or no movement at all.
    """
    whole = now.touched + now.untouched
    n = now.steps
    if n < 30 or whole <= 0 or not math.isfinite(whole):
        return None
    share = now.untouched / whole
    # Residual of a step: untouched - share * (touched + untouched).
    residual = (
        (1 - share) ** 2 * now.untouched_square
        - 2 * share * (1 - share) * now.product
        + share**2 * now.touched_square
    )
    error = math.sqrt(max(residual, 0.0) * n / (n - 1)) / whole
    low, high = max(0.0, share - level_z * error), min(1.0, share + level_z * error)
    return DriftShare(share, (low, high), int(n))
