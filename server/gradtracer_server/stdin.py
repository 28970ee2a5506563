"""Standard input as a stream of the event loop, read by one thread.

pygls' own reader asks a pool of threads for each line and each body: three journeys to another
thread and back for one message, each of which waits for a processor and the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import os
import threading

_CHUNK_BYTES = 1 << 16


class StdinTransport(asyncio.ReadTransport):
    """Feeds a stream; reads no further while the stream has enough."""

    def __init__(self, stdin: int, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._stdin = stdin
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._wanted = threading.Event()
        self._held = False
        # A thread that waits for input cannot be called off: it may not keep the process alive,
        # nor hold the lock of `sys.stdin` as it ends.
        threading.Thread(target=self._read, name="gradtracer-stdin", daemon=True).start()

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._held = True

    def resume_reading(self) -> None:
        """Take more."""
        self._held = False
        self._wanted.set()

    def _read(self) -> None:
        try:
            while chunk := self._next():
                self._wanted.clear()
                self._loop.call_soon_threadsafe(self._take, chunk)
                # Else a client that writes fast would fill the loop's list of calls.
                self._wanted.wait()
            self._loop.call_soon_threadsafe(self._reader.feed_eof)
        except RuntimeError:
            # The loop is closed: nobody listens any more.
            return

    def _take(self, chunk: bytes) -> None:
        self._reader.feed_data(chunk)
        if not self._held:
            self._wanted.set()

    def _next(self) -> bytes:
        try:
            return os.read(self._stdin, _CHUNK_BYTES)
        except OSError:
            # A terminal that is gone.
            return b""


class MessageReader(asyncio.StreamReader):
    """A stream that gives the work of one message a turn before it hands out the next.

    What is at hand already is otherwise read without one: a burst would be answered at its end.
    """

    async def readline(self) -> bytes:
        """A line of a header."""
        await asyncio.sleep(0)
        return await super().readline()

    async def readexactly(self, n: int) -> bytes:
        """A body."""
        await asyncio.sleep(0)
        return await super().readexactly(n)


def read_stdin(stdin: int) -> asyncio.StreamReader:
    """The stream of what comes in at a file descriptor, on the running loop."""
    reader = MessageReader()
    reader.set_transport(StdinTransport(stdin, reader))
    return reader
