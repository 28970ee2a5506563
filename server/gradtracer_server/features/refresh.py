"""workspace/*/refresh: tells a client to ask again, when what a run says has changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.2
"""A client is told no more often: it asks about every visible document each time."""


class Refresh:
    """Asks again for one kind of answer: one request at a time, the next when it is answered."""

    def __init__(
        self,
        ls: GradTracerServer,
        ask: Callable[[None], Awaitable[Any]],
        *,
        wanted: bool,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        """`wanted`: whether the client can be asked. `quiet`: seconds between two requests."""
        self._ls = ls
        self._ask = ask
        self._wanted = wanted
        self._quiet = quiet
        self._known: object = None
        self._running = False
        self._due = False

    def when_changed(self, content: object) -> None:
        """Tell the client when `content` is not what it was the last time."""
        if not self._wanted or content == self._known:
            return
        self._known = content
        self._due = True
        if not self._running:
            self._running = True
            self._ls.life.spawn(self._tell(), "refresh")

    async def _tell(self) -> None:
        try:
            while self._due:
                self._due = False
                try:
                    await self._ask(None)
                except JsonRpcException as error:
                    logger.info("the client does not ask again: %s", error)
                    self._wanted = False
                    return
                await asyncio.sleep(self._quiet)
        finally:
            self._running = False
