"""When gradients first were not finite, asked of the trackers that know it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable


@runtime_checkable
class Breaks(Protocol):
    """A tracker that looks whether gradients are finite."""

    def first_nonfinite(self, *, now: bool = False) -> int:
        """The run's step; -1 for none. `now`: asked where the training is, up to this moment."""
        ...


def first_break(trackers: Iterable[object], *, now: bool = False) -> int:
    """The earliest step that any of `trackers` knows of; -1 for none."""
    steps = [each.first_nonfinite(now=now) for each in trackers if isinstance(each, Breaks)]
    return min((step for step in steps if step >= 0), default=-1)
