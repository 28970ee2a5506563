"""When to stop waiting for a thread of ours: when it stands still, not when the machine is busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

_STILL = 0.005
"""Share of the time in which this process computes, below which nothing is done for the thread. One
that is given a hundredth of a processor is above it."""


class Joinable(Protocol):
    """A thread, as seen by who waits for it."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most so many seconds."""
        ...

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        ...


def ended(
    thread: Joinable, seconds: float, cpu_time: Callable[[], float] = time.process_time
) -> bool:
    """Wait for the end of `thread`; whether it came.

    Given up when this process has computed for `seconds` meanwhile, or as good as nothing in so
    many seconds of the clock. On a processor of its own that is the same as to wait `seconds`; on
    one that is shared it takes as long as the work takes.

    Args:
        thread: to wait for, while the caller's own thread does nothing.
        seconds: both limits.
        cpu_time: seconds that this process has computed.
    """
    begin = before = cpu_time()
    while True:
        thread.join(seconds)
        if not thread.is_alive():
            return True
        now = cpu_time()
        if now - begin >= seconds or now - before < _STILL * seconds:
            return False
        before = now
