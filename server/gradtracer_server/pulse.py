"""Many rings, few beats: joins what comes in quick succession into one action."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Pulse:
    """Runs `action` on the event loop soon after `ring`, at most once in `quiet` seconds.

    The first ring after a pause acts at once, so that a single event is not delayed. An action
    that takes long is given longer pauses: it never fills the loop.
    """

    def __init__(self, action: Callable[[], None], quiet: float = 0.01) -> None:
        self._action = action
        self._quiet = quiet
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def ring(self) -> None:
        """Ask for the action; on the event loop's thread."""
        if self._timer is None and not self._stopped:
            self._timer = asyncio.get_running_loop().call_at(self._next, self._beat)

    def stop(self) -> None:
        """Never act again."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            self._action()
        except Exception:
            logger.exception("a refresh failed; the next change tries again")
        ended = loop.time()
        self._next = ended + max(self._quiet, ended - began)
