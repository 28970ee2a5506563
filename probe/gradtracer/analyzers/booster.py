"""BoosterTracker: an ensemble while it grows, told of in the run's stream."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer.analyzers.metric_curves import Curve, Series, choose, latest
from gradtracer.analyzers.tree_figures import TreeFigures, TreeTotals, measure, observation
from gradtracer.analyzers.tree_table import TreeTable
from gradtracer.diagnoses import trees as examiners
from gradtracer.diagnoses.book import DiagnosisBook
from gradtracer_schemas import LayerWatched, ObservationEvent, SourceSite

if TYPE_CHECKING:
    from gradtracer.run import Run

_SNAPSHOT_SHARE = 0.01
_METRIC_SECONDS = 0.1
_REPORTS_AFTER_END = 2
"""As many as a diagnosis takes to be raised; the same figures again say nothing new."""

Read = Callable[[], tuple[Iterable[TreeTable], list[str]]]
"""Unpacks a snapshot: the trees of some rounds, and the names of the columns."""
Snapshot = Callable[[int, int], Read]
"""Copies the trees of a range of rounds out of the library, quickly; they are unpacked later."""


class BoosterTracker:
    """Observes one training call.

    The training thread hands over snapshots, at most a hundredth of its time; the reporting thread
    unpacks, measures and judges them.
    """

    def __init__(
        self, run: Run, facts: BoosterFacts, name: str, site: SourceSite, watch: SourceSite
    ) -> None:
        self.run = run
        self.facts = facts
        self.name = run.unique_layer_name(name)
        self.site = site
        self.before_report: Callable[[], None] | None = None
        """Called by the reporting thread: looks how far the call is, or whether it has ended."""
        self.series: Series = {}
        self._active = run.observing
        # A run that watches layers too counts their steps, not rounds.
        self._owns_steps = all(isinstance(each, BoosterTracker) for each in run.trackers)
        self._ended_reports: int | None = None
        self._began = self._last_metrics = self._last_snapshot = time.monotonic()
        self._spent = 0.0
        self._taken = facts.first_round
        self._snapshots: deque[tuple[Read, bool]] = deque()
        self._names: list[str] = []
        self._totals = TreeTotals(facts)
        self._book = DiagnosisBook(
            run.id, self.name, site, {"watch": watch} if watch.frames else {}
        )
        if not self._active:
            return
        if self._owns_steps:
            run.total_steps = facts.total_rounds
        run.attach(
            self,
            LayerWatched(
                layer=self.name,
                type=facts.kind,
                shape=[],
                dtype="",
                device="",
                site=site,
                watch=watch,
                settings=dict(facts.parameters),
            ),
        )

    # In the training thread.

    def rounds_done(self, rounds: int, snapshot: Snapshot | None) -> None:
        """`rounds` are done, earlier trainings' included; new trees are copied when it is time."""
        if not self._active:
            return
        now = time.monotonic()
        if self._owns_steps:
            self.run.step = rounds
        if now - self._last_metrics >= _METRIC_SECONDS:
            self._last_metrics = now
            self.show_metrics()
        due = self._last_snapshot + self.run.settings.report_seconds
        if snapshot is not None and now >= due:
            if self._spent > _SNAPSHOT_SHARE * (now - self._began):
                return
            self._snapshots.append((snapshot(self._taken, rounds), False))
            self._taken = rounds
            self._last_snapshot = time.monotonic()
            self._spent += self._last_snapshot - now

    def all_rounds_done(self, rounds: int, snapshot: Snapshot | None) -> None:
        """Training has ended: copy what is left; all of it where weights have changed since."""
        if not self._active:
            return
        self._ended_reports = 0
        if self._owns_steps:
            # LightGBM and CatBoost keep the rounds up to the best one, and have trained more.
            self.run.step = max(self.run.step, rounds)
        self.show_metrics()
        if snapshot is None:
            return
        anew = self.facts.rescales or rounds < self._taken
        if anew or rounds > self._taken:
            first = self.facts.first_round if anew else self._taken
            self._snapshots.append((snapshot(first, rounds), anew))
            self._taken = rounds

    def show_metrics(self) -> None:
        """Put the latest metrics beside the run's progress."""
        last = {
            data: {metric: values[-1:] for metric, values in list(metrics.items())}
            for data, metrics in list(self.series.items())
        }
        training, validation = self._curves(last)
        curve = validation if validation is not None else training
        loss = None
        if curve is not None and curve.values.size and curve.higher_is_better is False:
            loss = float(curve.values[-1])
        self.run.log(loss, **latest(last))

    # In the reporting thread.

    def publish(self, *, final: bool = False) -> None:
        """Unpack, measure, stream the figures, and say what changed among the diagnoses."""
        if self.before_report is not None:
            self.before_report()
        if self._ended_reports is not None:
            self._ended_reports += 1
            if self._ended_reports > _REPORTS_AFTER_END and not final:
                return
        while self._snapshots:
            self._take_in(*self._snapshots.popleft())
        figures = self.figures()
        self.run.emit(ObservationEvent, observation(figures))
        findings = examiners.examine(figures, self.run.settings)
        for event_class, body in self._book.update(findings, self.run.step, final=final):
            self.run.emit(event_class, body)

    def figures(self) -> TreeFigures:
        """Everything measured on the trees unpacked so far."""
        training, validation = self._curves(self.series)
        return measure(
            self.name,
            self.facts,
            self._names,
            self._totals,
            training,
            validation,
            self.run.settings.leakage_share,
        )

    def _take_in(self, read: Read, anew: bool) -> None:
        tables, self._names = read()
        if anew:
            self._totals = TreeTotals(self.facts)
        for table in tables:
            self._totals.add(table, len(self._names))

    def _curves(self, series: Series) -> tuple[Curve | None, Curve | None]:
        return choose(series, training=self.facts.training, last=self.facts.library == "xgboost")

    def forget(self) -> None:
        """Become inert: this is a copy in another process."""
        self._active = False

    def detach(self) -> None:
        """Stop observing."""
        self._active = False
