"""The look-ups of the last steps, in one buffer, so that one operation takes in many steps."""

from __future__ import annotations

import torch

from gradtracer.statistics.exposure import INT32_MAX

_CAPACITY = (8_192, 131_072)
_VIEWS = 256
"""Kept at most; batches of ever other sizes have no use for them."""


class RecentLookUps:
    """Copies of ids, `[n]` int32 on the table's device, side by side in the order of the steps.

    Copies, as a loader may fill the same tensor anew for the next step. Holds one id for eight rows
    of the table, within 32 and 512 KiB, or the largest pass: the more look-ups are counted at once,
    the more of them find a row's count in the cache. Views into the buffer are kept, as making one
    takes longer than the copy into it (its code has left the cache since the last step), and
    batches are mostly alike.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        low, high = _CAPACITY
        self._capacity = min(max(low, rows // 8), high)
        dtype = torch.int32 if rows <= INT32_MAX else torch.int64
        self._whole = torch.zeros(0, dtype=dtype, device=device)
        self.end = 0
        """Number of look-ups held."""
        self._views: dict[int, tuple[torch.Size, int, torch.Tensor]] = {}

    @property
    def ids(self) -> torch.Tensor:
        """All of them; a view, valid until `clear`."""
        return self._whole[: self.end]

    def fits(self, size: int) -> bool:
        """Whether `size` more can be held beside those there are."""
        return self.end + size <= max(self._capacity, self._whole.numel())

    def reserve(self, size: int) -> None:
        """Make room for `size` more, where there are none or they fit."""
        end = self.end + size
        if end > self._whole.numel():
            grown = self._whole.new_zeros(max(end, self._capacity))
            grown[: self.end] = self.ids
            self._whole = grown
            self._views.clear()

    def append(self, ids: torch.Tensor) -> bool:
        """Take in `ids`, of any shape and integer type. False: what is held must go first."""
        known = self._views.get(self.end)
        if known is None or known[0] != ids.shape:
            size = ids.numel()
            if self.end and not self.fits(size):
                return False
            known = self._view(ids.shape, size)
        _, end, view = known
        view.copy_(ids)
        self.end = end
        return True

    def _view(self, shape: torch.Size, size: int) -> tuple[torch.Size, int, torch.Tensor]:
        begin, end = self.end, self.end + size
        self.reserve(size)
        if len(self._views) >= _VIEWS:
            self._views.clear()
        known = self._views[begin] = shape, end, self._whole[begin:end].view(shape)
        return known

    def clear(self) -> None:
        """Let go of all."""
        self.end = 0
