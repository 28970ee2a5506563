"""`gradtracer serve`: one language server for one client, over stdio or TCP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from gradtracer_server.allocator import give_memory_back

if TYPE_CHECKING:
    from gradtracer_server.language_server import GradTracerServer

logger = logging.getLogger(__name__)


def serve(tcp: tuple[str, int] | None = None) -> int:
    """Serve one client until it leaves; the process's exit status.

    `tcp`: listen on this address instead of stdio; port 0 takes a free one. The address is
    written on standard error.
    """
    give_memory_back()
    server = _load()
    try:
        if tcp is None:
            # Nothing but messages may go to standard output, whatever a library prints.
            output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            served = _serve_stdio(server, output)
        else:
            server.over_tcp = True
            served = _serve_tcp(server, *tcp)
        with contextlib.suppress(SystemExit):
            asyncio.run(served)
    except KeyboardInterrupt:
        pass
    finally:
        server.life.end()
    return 0 if server.said_goodbye else 1


async def _serve_stdio(server: GradTracerServer, output: BinaryIO) -> None:
    """Serve who started this process."""
    from pygls.io_ import StdoutWriter

    from gradtracer_server.stdin import read_stdin

    server.protocol.set_writer(StdoutWriter(output))
    await _serve(server, read_stdin(sys.stdin.fileno()))


async def _serve_tcp(server: GradTracerServer, host: str, port: int) -> None:
    """Serve the first client that connects; others are turned away while it stays."""
    served = asyncio.Event()
    taken = False

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        if taken:
            logger.warning("a second client was turned away: start a server for each")
            writer.close()
            return
        taken = True
        server.protocol.set_writer(writer)  # pyright: ignore[reportArgumentType]
        try:
            await _serve(server, reader)
        finally:
            served.set()

    listener = await asyncio.start_server(connected, host, port)
    async with listener:
        address = listener.sockets[0].getsockname()
        sys.stderr.write(f"gradtracer: listening on {address[0]}:{address[1]}\n")
        sys.stderr.flush()
        await served.wait()


async def _serve(server: GradTracerServer, reader: asyncio.StreamReader) -> None:
    """Answer what comes in until there is no more."""
    from threading import Event

    from pygls.io_ import run_async

    try:
        await run_async(
            stop_event=Event(),
            reader=reader,
            protocol=server.protocol,
            logger=logger,
            error_handler=server.report_server_error,
        )
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        logger.info("the connection ended: %s", error)


def _load() -> GradTracerServer:
    """Import the server. The protocol's thousands of types are no garbage: not to be searched."""
    gc.disable()
    try:
        from gradtracer_server.language_server import GradTracerServer

        logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
        logging.getLogger("pygls").setLevel(logging.WARNING)
        return GradTracerServer()
    finally:
        gc.freeze()
        gc.enable()
