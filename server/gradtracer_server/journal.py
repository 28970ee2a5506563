"""Reads a run's journal as it grows: whole lines only, nothing trusted, nothing fatal.

The journal is untrusted input: it may be torn, replaced, a named pipe, or hold one endless line.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gradtracer_schemas import MAX_FRAME_BYTES, Event, FrameError, UnknownKind, decode_event
from gradtracer_server.exceptions import JournalUnreadable

JOURNAL_NAME = "events.jsonl"
_CHUNK_BYTES = 1 << 16
_HEAD_BYTES = 256
_PEEK_BYTES = 1 << 16
# A pipe without a writer would block the open, and a link may lead out of the run's folder.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event of a kind this reader does not know: only its place in the sequence counts."""

    kind: str
    seq: int


Record = Event | Skipped
"""What a reader hands on, from the journal and from the socket alike."""


class JournalReader:
    """Follows one `events.jsonl`; each call of `read_new` returns what was added since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems = 0
        """Lines that could not be read as events."""
        self.last_problem = ""
        """Why the last of them could not."""
        self.generation = 0
        """Counts how often the file was replaced or truncated and read anew."""
        self._offset = 0
        self._skipping = False
        self._head = b""
        self._identity: tuple[int, int] | None = None

    def read_new(self) -> list[Record]:
        """Records of the lines completed since the last call.

        Raises:
            JournalUnreadable: the file is missing, not a regular file, or may not be read.
        """
        return [record for batch in self.batches() for record in batch]

    def batches(self) -> Iterator[list[Record]]:
        """As `read_new`, a piece of the journal at a time: its events take many times its bytes."""
        descriptor = open_regular(self.path)
        try:
            self._start_over_if_replaced(descriptor)
            os.lseek(descriptor, self._offset, os.SEEK_SET)
            pending = b""
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                *lines, rest = chunk.split(b"\n")
                if lines:
                    lines[0] = pending + lines[0]
                    self._offset += sum(len(line) + 1 for line in lines)
                    if self._skipping:
                        self._skipping = False
                        del lines[0]
                    pending = rest
                    yield list(self._decode(lines))
                else:
                    pending += rest
                if len(pending) > MAX_FRAME_BYTES:
                    pending = self._give_up_on(pending)
        except OSError as error:
            raise JournalUnreadable(f"{self.path}: {error.strerror or error}") from None
        finally:
            os.close(descriptor)

    def _decode(self, lines: list[bytes]) -> Iterator[Record]:
        for line in lines:
            if not line.strip():
                continue
            try:
                yield decode_event(line)
            except UnknownKind as unknown:
                yield Skipped(unknown.kind, unknown.seq)
            except FrameError as error:
                self._count(str(error))

    def _give_up_on(self, pending: bytes) -> bytes:
        """Drop the beginning of a line that is too long to be an event."""
        if not self._skipping:
            self._count(f"expected lines of at most {MAX_FRAME_BYTES} bytes, got a longer one")
            self._skipping = True
        self._offset += len(pending)
        return b""

    def _count(self, problem: str) -> None:
        self.problems += 1
        self.last_problem = problem

    def _start_over_if_replaced(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        head = os.read(descriptor, _HEAD_BYTES)
        replaced = self._identity is not None and (
            identity != self._identity
            or status.st_size < self._offset
            or not head.startswith(self._head)
        )
        if replaced:
            self.generation += 1
            self._offset = 0
            self._skipping = False
        self._identity = identity
        self._head = head


def open_regular(path: Path) -> int:
    """Open a file that must be a regular file and no link; a descriptor to close.

    Raises:
        JournalUnreadable: it is missing, something else, or may not be read.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        raise JournalUnreadable(f"{path}: {error.strerror or error}") from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise JournalUnreadable(f"{path}: expected a regular file")


def first_record(path: Path) -> Record | FrameError | None:
    """What stands on the journal's first line, or why it is no event; None while there is none."""
    return _record_in(path, _first_line)


def last_record(path: Path) -> Record | FrameError | None:
    """What stands on the journal's last whole line, or why it is no event; None without one."""
    return _record_in(path, _last_line)


def _first_line(descriptor: int) -> list[bytes]:
    read = b""
    while chunk := os.read(descriptor, _PEEK_BYTES):
        read += chunk
        if b"\n" in chunk or len(read) > MAX_FRAME_BYTES:
            return read.split(b"\n", 1)[:1]
    return []


def _last_line(descriptor: int) -> list[bytes]:
    os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - _PEEK_BYTES), os.SEEK_SET)
    return os.read(descriptor, _PEEK_BYTES).split(b"\n")[:-1][-1:]


def _record_in(path: Path, read_line: Callable[[int], list[bytes]]) -> Record | FrameError | None:
    try:
        descriptor = open_regular(path)
    except JournalUnreadable:
        return None
    try:
        for line in read_line(descriptor):
            return decode_event(line)
    except UnknownKind as unknown:
        return Skipped(unknown.kind, unknown.seq)
    except FrameError as error:
        return error
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None
