"""Noise and total energy of each row's gradient over its consecutive exposures.

von Neumann's mean square successive difference (Ann. Math. Stat. 12, 1941): half the expected
squared difference of neighbours estimates the noise variance and lets a slow drift cancel, so it is
right while the row still learns; under strict alternation it is twice the energy. Instead of the
last gradient a block of k coordinates of it in a fixed random orthonormal basis is kept, a
different block each time.

Direction is kept apart from size: `agreement` averages 2 <a, b> / (|a|^2 + |b|^2) over pairs of
successive blocks a, b. Each pair lies between -1 (reversal) and 1 (repetition) whatever its size,
so a row with one huge gradient among small ones does not pass for an oscillating one, as it would
by the ratio V/E.
"""

from __future__ import annotations

import torch

from gradtracer.statistics.batch_rows import BatchRows

_BLOCK = 4
_MEMORY = 16.0
_COUNT_LIMIT = 32_000


class NoiseEnergy:
    """Moving averages per row: `V` noise energy, `E` total energy, in squared gradient units.

    State in bytes a row: V 4, E 4, agreement 4, n 2, sketch 2 k = 8, multiplicity 2: 24 in all.
    Averages weigh an exposure by max(1/n, 1/16). A gradient that is not finite is skipped.
    """

    def __init__(self, rows: int, dim: int, device: torch.device, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._dim = dim
        self._width = min(_BLOCK, dim)
        self._blocks = max(1, dim // self._width)
        basis, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator))
        self._basis = basis.to(device)
        self.noise = torch.zeros(rows, device=device)
        self.energy = torch.zeros(rows, device=device)
        self.agreement = torch.zeros(rows, device=device)
        self.exposures = torch.zeros(rows, dtype=torch.int16, device=device)
        # bfloat16: gradients of 1e-6 and less must not underflow, three digits are enough.
        self._sketch = torch.zeros(rows, self._width, dtype=torch.bfloat16, device=device)
        self._multiplicity = torch.zeros(rows, dtype=torch.bfloat16, device=device)
        self._columns = torch.arange(self._width, device=device)

    def start_burst(self) -> None:
        """Forget the last gradients: the next exposure does not follow the one kept."""
        self._multiplicity.zero_()

    def update(self, batch: BatchRows, grad: torch.Tensor) -> torch.Tensor:
        """Take in one step.

        Args:
            batch: the step's rows, B occurrences.
            grad: `[B, D]` float32, the row's total gradient at each occurrence.

        Returns:
            `[]` bool: whether any gradient in the batch was not finite.
        """
        ids, count = batch.ids, batch.count
        mean = grad / count.unsqueeze(1)
        finite = torch.isfinite(mean).all(dim=1)
        mean = torch.where(finite.unsqueeze(1), mean, 0.0)
        energy = mean.square().sum(dim=1) * count
        rotated = mean @ self._basis

        seen = self.exposures.index_select(0, ids)
        kept = self._multiplicity.index_select(0, ids).float()
        follows = finite & (kept > 0)
        block = (seen.long() - 1).remainder(self._blocks) * self._width
        now = rotated.gather(1, block.unsqueeze(1) + self._columns)
        before = self._sketch.index_select(0, ids).float()
        difference = (now - before).square().sum(dim=1)
        scale = 2.0 / (1.0 / count + 1.0 / kept.clamp(min=1.0))
        noise = 0.5 * self._dim / self._width * difference * scale

        n = seen + 1
        # Near the int16 limit go back by whole periods, so that `n mod blocks` never jumps.
        n = torch.where(n > _COUNT_LIMIT, n - self._blocks, n)
        n = torch.where(finite, n, seen)
        weight = (1.0 / n.clamp(min=1)).clamp(min=1.0 / _MEMORY)
        pair_weight = (1.0 / (n - 1).clamp(min=1)).clamp(min=1.0 / _MEMORY)
        self._average(self.energy, ids, energy, weight, finite)
        self._average(self.noise, ids, noise, pair_weight, follows)
        size = now.square().sum(dim=1) + before.square().sum(dim=1)
        agreement = torch.where(size > 0, 1.0 - difference / size, 0.0)
        self._average(self.agreement, ids, agreement, pair_weight, follows & (size > 0))
        next_block = (n.long() - 1).remainder(self._blocks) * self._width
        sketch = rotated.gather(1, next_block.unsqueeze(1) + self._columns)
        self._sketch.index_copy_(0, ids, sketch.to(torch.bfloat16))
        self._multiplicity.index_copy_(0, ids, torch.where(finite, count, 0.0).to(torch.bfloat16))
        self.exposures.index_copy_(0, ids, n.to(torch.int16))
        return (~finite).any()

    @staticmethod
    def _average(
        state: torch.Tensor,
        ids: torch.Tensor,
        value: torch.Tensor,
        weight: torch.Tensor,
        valid: torch.Tensor,
    ) -> None:
        old = state.index_select(0, ids)
        state.index_copy_(0, ids, torch.where(valid, old + weight * (value - old), old))
