"""What the first rank says to the others, in the store that their process group was built on."""

from __future__ import annotations

from typing import Any, NamedTuple

_CHUNK = 4 * 2**20
"""The store refuses values above 8 MiB."""


class Published(NamedTuple):
    """The latest message."""

    number: int
    chunks: int


class Word(NamedTuple):
    """That a message holds."""

    number: int
    begins: int
    """The step after which it does."""


class Channel:
    """Numbered messages, who holds them, and one word on them. Raises what the store raises.

    Nothing waits for another rank: what is not there is None. From any thread.

    Args:
        store: of the process group.
        prefix: of the keys, the same in all ranks.
        world_size: number of ranks.
    """

    def __init__(self, store: Any, prefix: str, world_size: int) -> None:
        self._store, self._prefix, self._others = store, prefix, world_size - 1
        self._kept: list[Published] = []

    # The first rank.

    def publish(self, number: int, body: bytes) -> None:
        """Message `number`, each one above the last."""
        begins = range(0, max(len(body), 1), _CHUNK)
        for place, begin in enumerate(begins):
            self._store.set(self._chunk(number, place), body[begin : begin + _CHUNK])
        self._store.set(f"{self._prefix}/latest", f"{number} {len(begins)}")
        self._kept.append(Published(number, len(begins)))
        # The last one but one may still be being read.
        while len(self._kept) > 2:
            old = self._kept.pop(0)
            for place in range(old.chunks):
                self._store.delete_key(self._chunk(old.number, place))

    def held_by_all(self, number: int) -> bool:
        """Whether all other ranks have acknowledged it."""
        return self._store.add(self._holders(number), 0) >= self._others

    def someone_asks_to_stop(self) -> bool:
        """Whether another rank has called `ask_to_stop`."""
        return bool(self._store.check([f"{self._prefix}/stop"]))

    def announce(self, number: int, begins: int) -> None:
        """Say after which step it holds."""
        self._store.set(f"{self._prefix}/word", f"{number} {begins}")

    # The others.

    def latest(self) -> Published | None:
        """The latest message; None before there is any."""
        found = self._read("latest")
        return None if found is None else Published(*found)

    def fetch(self, message: Published) -> bytes:
        """Its body."""
        chunks = range(message.chunks)
        return b"".join(self._store.get(self._chunk(message.number, place)) for place in chunks)

    def acknowledge(self, number: int) -> None:
        """Say that this rank holds it; once."""
        self._store.add(self._holders(number), 1)

    def ask_to_stop(self) -> None:
        """Ask the first rank to end what it began."""
        self._store.set(f"{self._prefix}/stop", "1")

    def word(self) -> Word | None:
        """The latest word; None before there is any."""
        found = self._read("word")
        return None if found is None else Word(*found)

    def _read(self, name: str) -> list[int] | None:
        key = f"{self._prefix}/{name}"
        if not self._store.check([key]):
            return None
        return [int(each) for each in self._store.get(key).split()]

    def _chunk(self, number: int, place: int) -> str:
        return f"{self._prefix}/{number}/{place}"

    def _holders(self, number: int) -> str:
        return f"{self._prefix}/{number}/held"
