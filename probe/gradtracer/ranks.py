"""Ranks of one training: what the others counted reaches rank 0, and no training step waits.

No collective is ever issued: ranks may see different ids or none at a step, and one of ours from
another thread could fall between two of the training's own. Instead the run's thread of rank 0 asks
through the store that the process group was built on (over a connection of its own), and the runs'
threads of the other ranks answer there. The store crosses hosts, whatever the backend. A rank that
does not answer is waited for once; what it said last goes on counting.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from gradtracer.giving_up import ended
from gradtracer.live_settings import OtherRank
from gradtracer.rank_channel import Channel

if TYPE_CHECKING:
    from gradtracer.run import Run

_log = logging.getLogger("gradtracer")

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 2.0
_LAST_PATIENCE_SECONDS = 10.0
_STORE_SECONDS = 10.0
_CHUNK = 4 * 2**20
"""The store refuses values above 8 MiB."""

_runs = 0


@runtime_checkable
class SharesState(Protocol):
    """A tracker whose state adds up over ranks."""

    name: str

    def rank_state(self, *, final: bool) -> bytes:
        """What this rank knows; in the run's thread. `final`: the training stands still."""
        ...


@runtime_checkable
class FollowsFirstRank(Protocol):
    """A tracker that has to do what the first rank says."""

    def follow_first_rank(self) -> None:
        """Look for something new; in the run's thread of another rank. Never raises."""
        ...


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    number: int
    """The question that it answers."""
    step: int
    chunks: int
    final: bool


class Place(NamedTuple):
    """Which process this is."""

    rank: int
    world_size: int


def place_among_ranks() -> Place:
    """From `torch.distributed` where it is initialised, otherwise as the launcher says."""
    distributed = _initialised()
    if distributed is not None:
        return Place(int(distributed.get_rank()), int(distributed.get_world_size()))
    return Place(_number_in_environment("RANK", 0), _number_in_environment("WORLD_SIZE", 1))


class Ranks:
    """The exchange of one run: rank 0 calls `collect` and `of`, the others run `answer`."""

    def __init__(self, run: Run) -> None:
        global _runs
        _runs += 1
        # Every rank begins its runs in the same order.
        self._prefix = f"gradtracer/{_runs}"
        self._run = run
        self._store: Any = None
        self._kept: Any = None
        self._off = False
        self._number = 0
        self._silent: set[int] = set()
        self._states: dict[int, dict[str, bytes]] = {}
        self._collecting = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._place = place_among_ranks()
        if run.observing:
            try:
                # Now, as the group may be gone by the first report.
                self._connected()
            except Exception:
                self._give_up()

    def channel(self, name: str) -> Channel | None:
        """For words of the first rank to the others; None where there is no process group."""
        try:
            store = self._connected()
        except Exception:
            self._give_up()
            return None
        if store is None:
            return None
        return Channel(store, f"{self._prefix}/{name}", self._place.world_size)

    # Rank 0, in any thread but a training step.

    def of(self, layer: str) -> list[bytes]:
        """The latest state of `layer` from each other rank that has sent one."""
        return [state[layer] for state in list(self._states.values()) if layer in state]

    def collect(self, *, final: bool = False) -> None:
        """Ask all ranks and wait for their answers, 2 seconds at most.

        At the end (`final`) 10, until all are as far as this rank. Never raises.
        """
        with self._collecting:
            try:
                self._collect(final)
            except Exception:
                self._give_up()

    def _collect(self, final: bool) -> None:
        store, place = self._connected(), self._place
        if store is None or place.world_size < 2:
            return
        if place.rank != 0:
            self._off = True
            _log.warning(
                "watch() was called before init_process_group(): rank %d reports as if it were "
                "alone; call watch() after it",
                place.rank,
            )
            return
        deadline = time.monotonic() + (_LAST_PATIENCE_SECONDS if final else _PATIENCE_SECONDS)
        waiting = set(range(1, place.world_size))
        self._ask(store)
        while waiting:
            behind = False
            for rank in sorted(waiting):
                answer = self._answer_of(store, rank)
                if answer is None or not (answer.final or answer.number >= self._number):
                    continue
                self._silent.discard(rank)
                if not final or answer.final or answer.step >= self._run.step:
                    waiting.remove(rank)
                behind = behind or rank in waiting
                self._read(store, rank, answer)
            late = time.monotonic() > deadline
            if late or not waiting - (set() if final else self._silent):
                break
            time.sleep(_POLL_SECONDS)
            if behind:
                self._ask(store)
        for rank in waiting - self._silent:
            self._silent.add(rank)
            _log.warning("rank %d does not answer: its look-ups so far are all that counts", rank)

    def _ask(self, store: Any) -> None:
        self._number += 1
        store.set(f"{self._prefix}/ask", str(self._number))

    def _answer_of(self, store: Any, rank: int) -> _Answer | None:
        key = f"{self._prefix}/{rank}"
        if not store.check([key]):
            return None
        return msgspec.msgpack.decode(store.get(key), type=_Answer)

    def _read(self, store: Any, rank: int, answer: _Answer) -> None:
        parts: list[bytes] = []
        for number in range(answer.chunks):
            chunk = store.get(f"{self._prefix}/{rank}/{number}")
            if int.from_bytes(chunk[:8], "little") != answer.number:
                # Overwritten by a newer answer while we read: that one will be read next time.
                return
            parts.append(chunk[8:])
        self._states[rank] = msgspec.msgpack.decode(b"".join(parts), type=dict[str, bytes])

    # The other ranks.

    def answer(self) -> None:
        """Answer rank 0 from a thread until `end`."""
        self._thread = threading.Thread(target=self._work, name="gradtracer", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Say the last word and stop; waits for that, within limits."""
        self._end.set()
        if self._thread is not None:
            ended(self._thread, _STORE_SECONDS)

    def _work(self) -> None:
        answered = 0
        settings: OtherRank | None = None
        try:
            while not self._end.wait(self._pause()):
                if settings is None and (channel := self.channel("settings")) is not None:
                    settings = OtherRank(channel)
                if settings is not None:
                    settings.follow(list(self._run.trackers))
                for tracker in list(self._run.trackers):
                    if isinstance(tracker, FollowsFirstRank):
                        tracker.follow_first_rank()
                store = self._connected()
                if store is None or not store.check([f"{self._prefix}/ask"]):
                    continue
                asked = int(store.get(f"{self._prefix}/ask"))
                if asked > answered:
                    answered = asked
                    self._send(store, answered, final=False)
            store = self._connected()
            if store is not None:
                self._send(store, answered + 1, final=True)
        except Exception:
            self._give_up()

    def _send(self, store: Any, number: int, *, final: bool) -> None:
        run, rank = self._run, self._place.rank
        step = run.step
        states = {
            tracker.name: tracker.rank_state(final=final)
            for tracker in list(run.trackers)
            if isinstance(tracker, SharesState)
        }
        body = msgspec.msgpack.encode(states)
        chunks = range(0, len(body), _CHUNK)
        for place, begin in enumerate(chunks):
            chunk = number.to_bytes(8, "little") + body[begin : begin + _CHUNK]
            store.set(f"{self._prefix}/{rank}/{place}", chunk)
        answer = _Answer(number=number, step=step, chunks=len(chunks), final=final)
        store.set(f"{self._prefix}/{rank}", msgspec.msgpack.encode(answer))

    def _pause(self) -> float:
        # Hundreds of ranks share one store.
        return _POLL_SECONDS * max(1.0, self._place.world_size / 32)

    def _connected(self) -> Any:
        """A connection of our own to the process group's store; None before there is a group."""
        if self._store is None and not self._off and _initialised() is not None:
            # No public word gives the store; a second connection by address would need its secret.
            from torch.distributed.distributed_c10d import (
                _get_default_store,  # pyright: ignore[reportPrivateUsage]
            )

            # Kept, as the last words are said after destroy_process_group().
            self._kept = _get_default_store()
            store = self._kept.clone()
            store.set_timeout(timedelta(seconds=_STORE_SECONDS))
            self._place, self._store = place_among_ranks(), store
        return None if self._off else self._store

    def _give_up(self) -> None:
        if not self._off:
            self._off = True
            self._run.fault("", "stopped exchanging counts with the other ranks")


def _initialised() -> Any:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed
    return None


def _number_in_environment(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, default))
    except ValueError:
        return default
