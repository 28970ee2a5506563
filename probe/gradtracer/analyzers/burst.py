"""What is written down at each step of one burst, and the sums that come of it.

At a step only norms, a few coordinates and a mask are written; all arithmetic waits for the end of
the burst, where it is done for its steps at once. Reads nothing back to the host.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from gradtracer.statistics.by_layer import to_layers
from gradtracer.statistics.gradient_sample import WIDTH
from gradtracer.statistics.step_history import Column
from gradtracer.statistics.update_ratio import ratio

BURST = 16
"""Steps followed in succession."""


class Soundness(NamedTuple):
    """What the gradients of S steps were worth, `[S, L]` bool each."""

    finite: torch.Tensor
    zero: torch.Tensor
    counted: torch.Tensor
    """The optimizer did not skip the step, as it does for a GradScaler that overflowed."""

    @property
    def sound(self) -> torch.Tensor:
        """Finite, not zero, and used."""
        return self.finite & ~self.zero & self.counted


class Burst:
    """Rows for up to 16 steps of P weights, L layers and U judged units."""

    def __init__(self, weights: int, units: int, device: torch.device) -> None:
        self.steps = 0
        self.start_norm: torch.Tensor | None = None
        """`[L]` float64 norm of each layer's weights before the first step."""
        self.gradient = torch.zeros(BURST, weights, device=device, dtype=torch.float32)
        """Norm of each gradient; zero where there is none."""
        self.samples = torch.zeros(BURST, weights, WIDTH, device=device, dtype=torch.float32)
        self.active = torch.zeros(BURST, units, dtype=torch.bool, device=device)
        self.moved = torch.full((BURST, weights), torch.nan, device=device, dtype=torch.float32)
        """Norm of each weight's change; NaN where it was not measured."""
        self.weight = torch.full((BURST, weights), torch.nan, device=device, dtype=torch.float32)
        """Norm of each weight after the step."""
        self.absent: list[tuple[int, ...]] = []
        """Weights without a dense gradient, for each step."""
        self.scale: torch.Tensor | None = None
        """`[16]` what gradients are too large by, where the optimizer itself unscales them."""
        self.skipped: torch.Tensor | None = None
        """`[16]` other than zero where the optimizer skips the step."""

    def note_scaler(self, scale: torch.Tensor | None, skipped: torch.Tensor | None) -> None:
        """What a GradScaler told the optimizer for the coming step."""
        if scale is not None:
            if self.scale is None:
                self.scale = torch.ones(BURST, device=self.gradient.device, dtype=torch.float32)
            self.scale[self.steps].copy_(scale.reshape(()), non_blocking=True)
        if skipped is not None:
            if self.skipped is None:
                self.skipped = torch.zeros(BURST, device=self.gradient.device, dtype=torch.float32)
            self.skipped[self.steps].copy_(skipped.reshape(()), non_blocking=True)

    def gradient_squares(self, owner: torch.Tensor | None, layers: int) -> torch.Tensor:
        """`[S, L]` float64 squared norm of each layer's gradient."""
        norm = self.gradient[: self.steps].double()
        if self.scale is not None:
            norm = norm / self.scale[: self.steps, None].double()
        return to_layers(norm.square(), owner, layers)

    def soundness(self, square: torch.Tensor) -> Soundness:
        """Of `gradient_squares`."""
        counted = torch.ones_like(square, dtype=torch.bool)
        if self.skipped is not None:
            counted = counted & (self.skipped[: self.steps, None] == 0)
        return Soundness(torch.isfinite(square), square == 0, counted)

    def sums(
        self, owner: torch.Tensor | None, layers: int, stagnation_ratio: float
    ) -> torch.Tensor:
        """`[L, len(Column)]` float64: see `statistics/step_history.py`."""
        square = self.gradient_squares(owner, layers)
        finite, zero, counted = self.soundness(square)
        sound = finite & ~zero & counted
        log = torch.where(sound, square, 1.0).log() / 2
        share = self._update_ratios(owner, layers)
        measured = torch.isfinite(share) & counted
        share = torch.where(measured, share, 0.0)
        moved = share > 0
        log_share = torch.where(moved, share, 1.0).log()
        columns = {
            Column.STEPS: counted,
            Column.NONFINITE: ~finite & counted,
            Column.ZERO: zero & counted,
            Column.LOG_NORM: log,
            Column.LOG_NORM_SQUARE: log.square(),
            Column.MEASURED: measured,
            Column.RATIO: share,
            Column.RATIO_SQUARE: share.square(),
            Column.MOVED: moved,
            Column.LOG_RATIO: log_share,
            Column.LOG_RATIO_SQUARE: log_share.square(),
            Column.MOVED_ENOUGH: share > stagnation_ratio,
        }
        return torch.stack([columns[column].double().sum(0) for column in Column], dim=1)

    def _update_ratios(self, owner: torch.Tensor | None, layers: int) -> torch.Tensor:
        """`[S, L]` |dW| / |W|, NaN where not measured.

        |W| is the larger of the norms before the burst and after the step, so that a layer which
        begins at zero has a ratio of one and not an infinite one.
        """
        moved = to_layers(self.moved[: self.steps].double().square(), owner, layers).sqrt()
        weight = to_layers(self.weight[: self.steps].double().square(), owner, layers).sqrt()
        if self.start_norm is not None:
            weight = torch.maximum(weight, self.start_norm)
        return ratio(moved, weight)
