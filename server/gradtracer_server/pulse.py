"""Many rings, few beats: joins what comes in quick succession into one action."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Pulse:
    """Runs `action` on the event loop soon after a ring, at most once in `quiet` seconds.

    The first ring after a pause acts at once, so that a single event is not delayed. A ring of the
    user's own hand waits for others of its kind alone, not for the pause that a stream of events
    keeps up. An action that takes long is given longer pauses: it never fills the loop.
    """

    def __init__(self, action: Callable[[], None], quiet: float = 0.01) -> None:
        self._action = action
        self._quiet = quiet
        self._next = 0.0
        self._next_by_hand = 0.0
        self._by_hand = False
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def ring(self) -> None:
        """Ask for the action; on the event loop's thread."""
        if self._timer is None:
            self._set(self._next)

    def ring_by_hand(self) -> None:
        """Ask for it on behalf of someone who waits."""
        if not self._by_hand:
            self._by_hand = True
            if self._timer is None or self._timer.when() > self._next_by_hand:
                self._set(self._next_by_hand)

    def stop(self) -> None:
        """Never act again."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._stopped:
            self._timer = asyncio.get_running_loop().call_at(when, self._beat)

    def _beat(self) -> None:
        self._timer = None
        by_hand, self._by_hand = self._by_hand, False
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self._action()
        except Exception:
            logger.exception("a refresh failed; the next change tries again")
        ended = loop.time()
        busy = ended - began
        self._next = ended + max(self._quiet, busy)
        pause = max(self._quiet, busy) if by_hand else busy
        self._next_by_hand = max(self._next_by_hand, ended + pause)
