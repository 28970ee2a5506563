"""A buffer that is filled step by step, and the views into it, which return with every round."""

from __future__ import annotations

import torch

_VIEWS = 256
"""Kept at most; batches of ever other sizes have no use for them."""


class StepBuffer:
    """Rows `[n, ...]` side by side in the order of the steps.

    In a step's rare operations a view costs as much as the copy into it (their code has left the
    cache since the last step). Batches are mostly alike, and so are the views of every round.
    """

    def __init__(self, empty: torch.Tensor) -> None:
        self.whole = empty
        self._views: dict[int, tuple[int, torch.Tensor]] = {}

    @property
    def size(self) -> int:
        """Rows there is room for."""
        return self.whole.shape[0]

    def resize(self, rows: int, *, keep: int = 0) -> None:
        """Make room for `rows`, of which the first `keep` stay as they are."""
        grown = self.whole.new_zeros(rows, *self.whole.shape[1:])
        if keep:
            grown[:keep] = self.whole[:keep]
        self.whole = grown
        self._views.clear()

    def part(self, begin: int, end: int) -> torch.Tensor:
        """The rows from `begin` to `end`, a view."""
        known = self._views.get(begin)
        if known is not None and known[0] == end:
            return known[1]
        view = self.whole[begin:end]
        if len(self._views) >= _VIEWS:
            self._views.clear()
        self._views[begin] = (end, view)
        return view
