"""pygls' protocol, with bookkeeping that stays small over a day of typing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pygls.protocol import LanguageServerProtocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class BoundedProtocol(LanguageServerProtocol):
    """Forgets the future of every message once it is answered.

    pygls 2.1.1 keeps the futures of notifications for ever: one or two for each keystroke.
    """

    def _execute_handler(
        self,
        msg_id: str | int,
        handler: Callable[[Any], Any],
        callback: Callable[[Future[Any]], None],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        def settled(future: Future[Any]) -> None:
            self._request_futures.pop(msg_id, None)
            # A handler that is cancelled as the process ends has nobody left to tell.
            with contextlib.suppress(asyncio.CancelledError):
                callback(future)

        super()._execute_handler(msg_id, handler, settled, args, kwargs)
