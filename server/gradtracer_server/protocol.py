"""pygls' protocol, with bookkeeping that stays small over a day of typing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.protocol import LanguageServerProtocol, lsp_method

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future


class BoundedProtocol(LanguageServerProtocol):
    """Forgets the future of every message once it is answered.

    pygls 2.1.1 keeps the futures of notifications for ever: one or two for each keystroke.
    """

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(
        self, params: types.InitializeParams
    ) -> Generator[Any, Any, types.InitializeResult]:
        """Announce `workspace/textDocumentContent`, which pygls 2.1.1 knows and does not name."""
        answer = yield from super().lsp_initialize(params)
        options = self.fm.feature_options.get(types.WORKSPACE_TEXT_DOCUMENT_CONTENT)
        workspace = answer.capabilities.workspace
        if options is not None and workspace is not None:
            workspace.text_document_content = options
        return answer

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, *args: Any) -> Generator[Any, Any, None]:
        """Cancel what is under way, of a copy: each that is cancelled is forgotten at once."""
        handler = self.fm.features.get(types.SHUTDOWN)
        if handler is not None:
            yield handler, args, None
        this = self.msg_id
        for msg_id, future in list(self._request_futures.items()):
            if msg_id != this and not future.done():
                future.cancel()
        self._shutdown = True

    def _handle_response(
        self, msg_id: str | int, result: Any = None, error: types.ResponseError | None = None
    ) -> None:
        """Drop the answer to a question that was taken back; pygls 2.1.1 raises an error."""
        future = self._request_futures.get(msg_id)
        if future is not None and future.cancelled():
            del self._request_futures[msg_id]
            return
        super()._handle_response(msg_id, result, error)

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
