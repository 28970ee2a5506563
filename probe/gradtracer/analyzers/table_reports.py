"""What successive reports on a table remember of each other, and how one is made.

In the reporting thread, or when the user asks.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradtracer.analyzers.standing import GradientReach
from gradtracer.analyzers.table_figures import TableFigures, measure
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_rows import live_rows, rows_of
from gradtracer.analyzers.table_state import TableState, merge_states, read_state, unpack_state
from gradtracer.statistics.exposure import Halfway, halfway
from gradtracer.statistics.movement import MovementTotals
from gradtracer.statistics.staleness import Staleness
from gradtracer.statistics.start_share import StartSample, StartShare

if TYPE_CHECKING:
    from gradtracer.run import Run


class TableReports:
    """Reports on one table, `weight` `[N, D]`, from `step` on; a replaced weight begins anew."""

    def __init__(self, run: Run, weight: torch.Tensor, padding_idx: int | None, step: int) -> None:
        self._run, self._weight, self._padding_idx = run, weight, padding_idx
        self._measuring = threading.Lock()
        self._movement: MovementTotals | None = None
        self._ranks: list[tuple[int, float]] = []
        self._staleness = Staleness(weight.shape[0], run.settings.seed, step=step)
        self._start: StartSample | None = StartSample(weight, run.settings.seed)
        self.start_share: StartShare | None = None
        """What the latest report says of the values that the table began with."""
        self._reach = GradientReach(run.step)
        self.stands = 0
        """Steps whose gradients left the rows in use, as far as sampled, as they began."""
        self.notes: list[tuple[int, int]] = []
        """Look-ups and rows seen at each report, where several ranks count."""

    def measure(self, name: str, observer: TableObserver, steps: int) -> TableFigures:
        """Measure everything after `steps` steps. O(N log N); waits for the device."""
        with self._measuring, torch.no_grad():
            others = [unpack_state(packed) for packed in self._run.ranks.of(name)]
            if others:
                state = merge_states(read_state(observer), others)
                table, seen = rows_of(state, self._padding_idx), self._halfway(state)
            else:
                table = live_rows(observer, self._padding_idx)
                seen = observer.exposure.halfway()
            figures = measure(
                name,
                table,
                self._weight,
                self._run.settings,
                halfway=seen,
                previous=self._movement,
            )
            staleness = self._staleness.observe(table.look_ups, steps)
            if self._start is not None:
                self.start_share = self._start.read(self._weight, table.look_ups)
                still = self._start.stands(self._weight, table.look_ups)
                self.stands = self._reach.steps(self._weight, self._run.step) if still else 0
        earlier = [rank for step, rank in self._ranks if step <= 0.75 * steps]
        return figures._replace(staleness=staleness, earlier_rank=earlier[-1] if earlier else None)

    def published(self, figures: TableFigures, steps: int) -> None:
        """The stream has been told `figures`: what comes next is compared with them."""
        self._movement = figures.movement
        if figures.rank is not None:
            self._ranks.append((steps, figures.rank.value))

    def _halfway(self, state: TableState) -> Halfway | None:
        # Each rank's own notes cannot be merged: those of the reports serve.
        look_ups, seen = int(state.counts.sum()), int(np.count_nonzero(state.counts))
        found = halfway(self.notes, look_ups, seen)
        self.notes.append((look_ups, seen))
        return found

    def state_dict(self) -> dict[str, Any]:
        """What a later process needs to tell staleness; tensors are copies."""
        return self._staleness.state_dict()

    def load_state_dict(self, staleness: dict[str, Any], notes: list[tuple[int, int]]) -> None:
        """Go on from a saved state, and the notes of its exposure. Raises KeyError."""
        self.notes = [(int(look_ups), int(seen)) for look_ups, seen in notes]
        self._staleness.load_state_dict(staleness)
        # The training began in another process, with values that nobody knows now.
        self._start = self.start_share = None
        self.stands = 0
