"""Agreement of several ranks on what is scaled from which step on: in all of them, or in none.

Replicas stay equal to the bit only where all scale the same rows by the same factors from the same
step on. No collective is issued (see `ranks.py`), and no step waits for another rank:

1. The first rank publishes what it proposes in the store of the process group, under a number.
2. The thread of each other rank fetches it, makes it ready on the device, and acknowledges.
3. Half an interval before a multiple of 256 steps the first rank looks whether all have, and if so
   writes at which step it begins. If one has not, nothing changes anywhere.
4. At that step, each rank that holds a proposal reads this word, and acts by it.

The word is 128 steps old when it is read. Gradients are reduced at every step, so that no rank can
be two steps ahead of another; one that comes late all the same acts when it learns of it, and says
that its copy has parted from the others. What is read in the training's thread is one small value,
only at multiples of 256 steps and while a proposal is held.

A rank whose observation fails goes on scaling as all do: what it would stop alone, it would part
by. The first rank then proposes to scale nothing; another one follows without counting. Only where
scaling itself fails has a copy parted, and all are asked to stop.
"""

from __future__ import annotations

import logging
import threading
import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.optim import Optimizer

from gradtracer.auto_fix.hook import Levels, RowScaler, Scales, way_of
from gradtracer.rank_channel import Channel

_log = logging.getLogger("gradtracer")

INTERVAL = 256
"""Steps between two places at which something may begin."""
_AHEAD = INTERVAL // 2


class Proposal(NamedTuple):
    """What is to be scaled, and what is to be said of it once it is."""

    levels: npt.NDArray[np.uint8]
    """`[N]`, as the table of `hook.py` holds them."""
    prepared: Levels | None
    """The same for the scaler."""
    action: str
    reason: str
    quietly: bool
    """In the audit alone."""


class Leader:
    """The side of the first rank, which decides."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._waiting: Proposal | None = None
        self._open: Proposal | None = None
        self._begins: int | None = None
        self._changing = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether a proposal has not begun yet."""
        return self._waiting is not None or self._open is not None

    def propose(self, proposal: Proposal) -> None:
        """Take the place of what has not begun yet; from any thread."""
        self._waiting = proposal

    def is_asked_to_stop(self) -> bool:
        """Whether a rank can no longer scale; in the run's thread."""
        return self._channel.someone_asks_to_stop()

    def publish(self) -> None:
        """Publish what was proposed, unless another one is about to begin; in the run's thread."""
        with self._changing:
            proposal = self._waiting
            if proposal is None or self._begins is not None:
                return
            self._waiting, self._open = None, proposal
            self._number += 1
            self._channel.publish(self._number, zlib.compress(proposal.levels.tobytes(), level=1))

    def reached(self, step: int) -> Proposal | None:
        """What begins after `step`, the number of the one just taken; in the training's thread."""
        if self._begins is not None:
            if step < self._begins:
                return None
            begun, self._open, self._begins = self._open, None, None
            return begun
        halfway = step % INTERVAL == INTERVAL - _AHEAD
        if self._open is None or not halfway or not self._changing.acquire(blocking=False):
            return None
        try:
            if self._channel.held_by_all(self._number):
                self._channel.announce(self._number, step + _AHEAD)
                self._begins = step + _AHEAD
        finally:
            self._changing.release()
        return None


class Follower:
    """The side of every other rank, which does as the first one says. It writes no audit."""

    def __init__(self, channel: Channel, layer: str, rows: int, device: torch.device) -> None:
        self.scaler = RowScaler()
        self._channel, self._layer = channel, layer
        self._rows, self._device = rows, device
        self._number = 0
        self._held: tuple[int, Levels | None] | None = None
        self._optimizer: type[Optimizer] | None = None
        self._scales: Scales = "nothing"
        self._failed = False

    def fail(self) -> None:
        """Scale no more, and have the first rank stop all. Raises what the store raises.

        It goes on acknowledging, as nothing may begin before all have.
        """
        self._failed, self.scaler = True, RowScaler()
        self._channel.ask_to_stop()

    def follow(self) -> None:
        """Fetch what is new, and acknowledge it; in the run's thread."""
        latest = self._channel.latest()
        if latest is None or latest.number <= self._number:
            return
        if self._held is not None:
            word = self._channel.word()
            if word is not None and word.number == self._held[0]:
                # It is about to begin: the new one comes after it.
                return
        levels = np.frombuffer(zlib.decompress(self._channel.fetch(latest)), np.uint8)
        self._number = latest.number
        if levels.size != self._rows:
            # Never acknowledged, so that it begins nowhere.
            _log.warning(
                "auto_fix of %s: this rank's table has %d rows and the first one's %d: no rank "
                "scales its updates",
                self._layer,
                self._rows,
                levels.size,
            )
            return
        prepared = RowScaler.prepared(torch.from_numpy(levels.copy()), self._device)
        self._held = latest.number, prepared
        self._channel.acknowledge(latest.number)

    def before_step(self, optimizer: Optimizer, weight: torch.Tensor) -> None:
        """The optimizer is about to step."""
        if not self.scaler.acts:
            return
        if type(optimizer) is not self._optimizer:
            self._optimizer, self._scales = type(optimizer), way_of(optimizer).scales
        if self._scales != "nothing":
            self.scaler.before_step(weight, self._scales)

    def after_step(self, weight: torch.Tensor, step: int) -> None:
        """It has taken the step of that number."""
        self.scaler.after_step(weight)
        held = self._held
        if held is None or step % INTERVAL:
            return
        word = self._channel.word()
        if word is None or word.number != held[0] or step < word.begins:
            return
        if not self._failed:
            self.scaler.use(held[1])
        self._held = None
        if step > word.begins:
            _log.warning(
                "auto_fix of %s: this rank learned at step %d what began at step %d in others: "
                "its copy has parted from theirs",
                self._layer,
                step,
                word.begins,
            )
