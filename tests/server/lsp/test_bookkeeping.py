"""What a server keeps does not grow with the day's typing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol

from gradtracer_server.protocol import BoundedProtocol

URI = "file:///train.py"


class Sink:
    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


async def futures_kept(protocol: type[LanguageServerProtocol]) -> int:
    server = LanguageServer("test", "1", protocol_cls=protocol)
    server.protocol.set_writer(Sink())

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: types.DidChangeTextDocumentParams) -> None: ...

    def tell(message: Any) -> None:
        server.protocol.handle_message(message)

    capabilities = types.ClientCapabilities()
    tell(types.InitializeRequest(1, types.InitializeParams(capabilities=capabilities)))
    document = types.TextDocumentItem(URI, "python", 1, "a = 1\n")
    tell(types.DidOpenTextDocumentNotification(types.DidOpenTextDocumentParams(document)))
    for version in range(2, 52):
        identifier = types.VersionedTextDocumentIdentifier(version, URI)
        change = types.TextDocumentContentChangeWholeDocument("a = 2\n")
        tell(
            types.DidChangeTextDocumentNotification(
                types.DidChangeTextDocumentParams(identifier, [change])
            )
        )
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    return len(server.protocol._request_futures)


async def test_no_future_is_kept_for_an_edit() -> None:
    assert await futures_kept(BoundedProtocol) == 0


async def test_the_protocol_it_improves_keeps_them() -> None:
    if await futures_kept(LanguageServerProtocol) == 0:
        pytest.fail("pygls forgets its futures by now: BoundedProtocol can go")
