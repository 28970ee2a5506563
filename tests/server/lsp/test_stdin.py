"""Standard input as a stream: nothing is lost, nothing runs ahead, the end is told."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

from gradtracer_server.stdin import read_stdin
from patience import PATIENCE


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's two ends; the reading one is left to the thread that reads it."""
    out, into = os.pipe()
    yield out, into
    try:
        os.close(into)
    except OSError:
        pass


async def test_what_comes_in_pieces_is_read_whole(pipe: tuple[int, int]) -> None:
    out, into = pipe
    reader = read_stdin(out)
    os.write(into, b"Content-")
    line = asyncio.ensure_future(reader.readline())
    os.write(into, b"Length: 5\r\n\r\nab")
    assert await asyncio.wait_for(line, PATIENCE) == b"Content-Length: 5\r\n"
    assert await reader.readline() == b"\r\n"
    os.write(into, b"cde")
    assert await asyncio.wait_for(reader.readexactly(5), PATIENCE) == b"abcde"


async def test_the_end_of_input_is_told(pipe: tuple[int, int]) -> None:
    out, into = pipe
    reader = read_stdin(out)
    os.write(into, b"last")
    os.close(into)
    assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"last"
    assert await asyncio.wait_for(reader.readline(), PATIENCE) == b""


async def test_a_body_that_ends_too_soon_is_told(pipe: tuple[int, int]) -> None:
    out, into = pipe
    reader = read_stdin(out)
    os.write(into, b"abc")
    os.close(into)
    with pytest.raises(asyncio.IncompleteReadError):
        await asyncio.wait_for(reader.readexactly(5), PATIENCE)


async def test_an_input_that_cannot_be_read_is_at_its_end() -> None:
    reader = read_stdin(2**20)
    assert await asyncio.wait_for(reader.readline(), PATIENCE) == b""


async def test_a_flood_waits_in_the_pipe_and_comes_whole(pipe: tuple[int, int]) -> None:
    out, into = pipe
    reader = read_stdin(out)
    lines, written = [b"%06d\n" % n for n in range(400_000)], threading.Event()

    def write() -> None:
        for first in range(0, len(lines), 1000):
            os.write(into, b"".join(lines[first : first + 1000]))
        written.set()
        os.close(into)

    writer = threading.Thread(target=write)
    writer.start()
    assert await asyncio.wait_for(reader.readline(), PATIENCE) == lines[0]
    assert not await asyncio.to_thread(written.wait, 0.2), "the writer was held up"
    rest = b"".join(lines[1:])
    assert await asyncio.wait_for(reader.readexactly(len(rest)), PATIENCE) == rest
    writer.join()


async def test_the_work_of_a_message_gets_a_turn_before_the_next_is_read(
    pipe: tuple[int, int],
) -> None:
    out, into = pipe
    reader = read_stdin(out)
    os.write(into, b"1\n2\n")
    seen: list[str] = [(await asyncio.wait_for(reader.readline(), PATIENCE)).decode()]

    async def work() -> None:
        seen.append("work")

    task = asyncio.ensure_future(work())
    seen.append((await reader.readline()).decode())
    await task
    assert seen == ["1\n", "work", "2\n"]
