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


async def test_shutdown_cancels_everything_that_is_under_way() -> None:
    server = LanguageServer("test", "1", protocol_cls=BoundedProtocol)
    answers: list[bytes] = []
    sink = Sink()
    sink.write = answers.append  # type: ignore[method-assign]
    server.protocol.set_writer(sink)

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: types.DidOpenTextDocumentParams) -> None:
        await asyncio.Event().wait()

    def tell(message: Any) -> None:
        server.protocol.handle_message(message)

    capabilities = types.ClientCapabilities()
    tell(types.InitializeRequest(1, types.InitializeParams(capabilities=capabilities)))
    for _ in range(3):
        document = types.TextDocumentItem(URI, "python", 1, "a = 1\n")
        tell(types.DidOpenTextDocumentNotification(types.DidOpenTextDocumentParams(document)))
    await asyncio.sleep(0)
    tell(types.ShutdownRequest(2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert b'"id":2' in answers[-1].replace(b" ", b"")
    assert b'"error"' not in answers[-1]
    assert server.protocol._request_futures == {}


@pytest.mark.parametrize("outcome", [{"result": None}, {"error": {"code": -1, "message": "no"}}])
async def test_the_answer_to_a_question_that_was_taken_back_is_dropped(
    outcome: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = LanguageServer("test", "1", protocol_cls=BoundedProtocol)
    server.protocol.set_writer(Sink())

    def tell(message: Any) -> None:
        server.protocol.handle_message(message)

    capabilities = types.ClientCapabilities()
    tell(types.InitializeRequest(1, types.InitializeParams(capabilities=capabilities)))
    registration = types.RegistrationParams([])
    asked = asyncio.ensure_future(server.client_register_capability_async(registration))
    await asyncio.sleep(0)
    [question] = server.protocol._request_futures
    asked.cancel()
    await asyncio.wait([asked])
    answer = server.protocol.structure_message({"jsonrpc": "2.0", "id": question, **outcome})
    tell(answer)
    assert server.protocol._request_futures == {}
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []
