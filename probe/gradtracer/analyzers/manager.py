"""FlowManager: the towers of a model beside each other, and trackers under one name.

Longer than most modules, as it is both the original system's collection of trackers and a tracker
of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from gradtracer.analyzers.flow import FlowTracker, observed_modules
from gradtracer.analyzers.layer_modules import layers_of
from gradtracer.analyzers.optimizer_facts import OptimizerFacts, optimizer_facts
from gradtracer.analyzers.tower_figures import TowerFigures, measure, observation
from gradtracer.analyzers.tower_observer import Snapshot, TowerObserver
from gradtracer.analyzers.towers import Parts, Tower, towers_of
from gradtracer.callsite import call_site, locate_modules
from gradtracer.diagnoses import tower_imbalance
from gradtracer.diagnoses.book import DiagnosisBook
from gradtracer.diagnoses.finding import Finding
from gradtracer.stepping import add_watcher, count_steps, remove_watcher
from gradtracer.training_sites import TrainingSites, training_sites
from gradtracer_schemas import (
    Diagnosis,
    LayerWatched,
    LayerWatchedEvent,
    ObservationEvent,
    SourceSite,
)

if TYPE_CHECKING:
    from gradtracer.run import Run


class FlowManager:
    """Compares how the towers of a model move: how far, and whether together.

    Args:
        model: any module; its layers come under a `FlowTracker`, its towers are compared. As in the
            original system a name may stand here instead, for a mere collection of trackers.
        towers: for each tower its modules, by path or themselves, e.g. `{"user": ["user_emb"],
            "item": [model.item_tower]}`; by default those that names (`user_emb`, `item_mlp`) or
            classes tell of, else the model's own children.
        name: of the collection, in its report.
        track_interval: follow 1/track_interval of the steps, in bursts of 16 (at first, of 64).
        run: the run to report to; by default the process's current one, begun when needed.

    Raises:
        NothingToWatch: a path that the model does not have, or fewer than two towers.
    """

    looks_ahead = True

    def __init__(
        self,
        model: nn.Module | str | None = None,
        towers: Mapping[str, Parts] | None = None,
        *,
        name: str = "flow_manager",
        track_interval: int = 1,
        run: Run | None = None,
        sites: dict[str, SourceSite] | None = None,
        watch_site: SourceSite | None = None,
    ) -> None:
        self.name = model if isinstance(model, str) else name
        self.trackers: dict[str, Any] = {}
        self.towers: tuple[Tower, ...] = ()
        self._active = False
        if not isinstance(model, nn.Module):
            return
        if run is None:
            from gradtracer.run import current_run

            run = current_run()
        self.run = run
        self.towers, self._parallel = towers_of(model, towers)
        self.track_interval = max(1, int(track_interval))
        self._active = run.observing
        self._measuring = threading.Lock()
        self._seen: Snapshot | None = None
        self._optimizers: dict[str, tuple[OptimizerFacts, TrainingSites]] = {}
        self._observer = TowerObserver(
            self.towers, track_interval=self.track_interval, seed=run.settings.seed
        )
        self._watch_site = watch = call_site() if watch_site is None else watch_site
        sites = locate_modules(model) if sites is None else sites
        self._books: dict[str, DiagnosisBook] = {}
        self._layers: dict[str, str] = {}
        self._sites: dict[str, SourceSite] = {}
        for tower in self.towers:
            site = next((sites[path] for path in tower.paths if path in sites), SourceSite())
            self._sites[tower.name] = site
            layer = run.unique_layer_name(f"tower.{tower.name}")
            related = {"watch": watch} if watch.frames else {}
            self._layers[tower.name] = layer
            self._books[tower.name] = DiagnosisBook(run.id, layer, site, related)
        if self._active:
            first, *others = self.declarations()
            run.attach(self, first)
            for declaration in others:
                run.emit(LayerWatchedEvent, declaration)
        if layers_of(model, observed_modules(run)):
            self.trackers["layers"] = FlowTracker(
                model, track_interval=self.track_interval, run=run, sites=sites, watch_site=watch
            )
        if self._active:
            add_watcher(self)
            count_steps(run)

    def declarations(self) -> list[LayerWatched]:
        """The towers whose weights still exist, with the settings as they are now."""
        return [each for tower in self.towers if (each := self._declaration(tower)) is not None]

    def _declaration(self, tower: Tower) -> LayerWatched | None:
        weights = [weight for part in tower.parts if (weight := part.weight) is not None]
        if not weights:
            return None
        return LayerWatched(
            layer=self._layers[tower.name],
            type="Tower",
            shape=[sum(weight.numel() for weight in weights)],
            dtype=str(weights[0].dtype).removeprefix("torch."),
            device=str(weights[0].device),
            site=self._sites[tower.name],
            watch=self._watch_site,
            settings={"track_interval": self.track_interval},
        )

    def set_track_interval(self, interval: int) -> None:
        """Follow 1/interval of the steps from the next burst on; from any thread."""
        self.track_interval = interval
        self._observer.set_interval(interval)

    def compares(self, model: nn.Module) -> bool:
        """Whether its towers are of this model."""
        modules = set(model.modules())
        return any(part.module() in modules for tower in self.towers for part in tower.parts)

    def add_tracker(self, key: str, tracker: Any) -> None:
        """Put a tracker of any kind under `key`: `step`, `summary` and `report` go to it too."""
        self.trackers[key] = tracker

    # In the training thread: nothing below may raise or wait for the device.

    def parameters(self) -> Iterable[torch.Tensor]:
        """The weights of all towers, as they are now."""
        for tower in self.towers:
            for part in tower.parts:
                if (weight := part.weight) is not None:
                    yield weight

    def before_step(self, optimizer: Optimizer) -> None:
        """Called right before an optimizer that holds some of the weights steps."""
        if not self._active:
            return
        try:
            step = self.run.step
            if not self._observer.begin_step(step, id(optimizer)):
                return
            self._note_optimizers(optimizer)
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            with torch.no_grad():
                self._observer.before_step(step, held, getattr(optimizer, "found_inf", None))
        except Exception:
            self._fail("following the towers' gradients")

    def after_step(self, optimizer: Optimizer) -> None:
        """Called right after."""
        del optimizer
        if not self._active or self._observer.idle:
            return
        try:
            with torch.no_grad():
                self._observer.after_step()
        except Exception:
            self._fail("following the towers' updates")

    def _note_optimizers(self, optimizer: Optimizer) -> None:
        """What each tower's largest weight is optimized by, once for each burst."""
        if not self._observer.at_burst_start:
            return
        for tower in self.towers:
            weights = [weight for part in tower.parts if (weight := part.weight) is not None]
            largest = max(weights, key=lambda weight: weight.numel(), default=None)
            facts = optimizer_facts(optimizer, largest) if largest is not None else None
            if facts is not None:
                self._optimizers[tower.name] = facts, training_sites(optimizer)

    def step(self) -> None:
        """Call `step` of every tracker; towers need none, they see the optimizer's."""
        for tracker in self.trackers.values():
            tracker.step()

    def _fail(self, doing: str) -> None:
        """Switch off, say so once, and let the training go on."""
        self._active = False
        self.run.fault("", f"stopped comparing towers while {doing}")

    def forget(self) -> None:
        """Become inert: this is a copy in another process."""
        self._active = False

    # In the reporting thread, or when the user asks.

    def figures(self) -> list[TowerFigures]:
        """Measure the towers now; waits for the device. Empty before four bursts of 16 steps."""
        return self._measure(self._observer.published) if self.towers else []

    def _measure(self, snapshot: Snapshot) -> list[TowerFigures]:
        with self._measuring, torch.no_grad():
            found = measure(snapshot, [tower.name for tower in self.towers])
        for name, (_, sites) in list(self._optimizers.items()):
            self._books[name].relate(sites.related())
        paths = {tower.name: tower.paths for tower in self.towers}
        return [
            each._replace(
                optimizer=facts,
                path=paths[each.tower][0] if len(paths[each.tower]) == 1 else "",
                parallel=self._parallel,
            )
            for each in found
            for facts, _ in [self._optimizers.get(each.tower, (None, None))]
        ]

    def publish(self, *, final: bool = False) -> None:
        """Stream the figures of new bursts, and say what changed among the diagnoses."""
        snapshot = self._observer.published
        if snapshot is self._seen and not final:
            return
        news, self._seen = snapshot is not self._seen, snapshot
        for each in self._measure(snapshot):
            if news:
                self.run.emit(ObservationEvent, observation(each, self._layers[each.tower]))
            found = self._examine(each)
            changes = self._books[each.tower].update(found, self.run.step, final=final)
            for event_class, body in changes:
                self.run.emit(event_class, body)

    def _examine(self, figures: TowerFigures) -> list[Finding]:
        found = tower_imbalance.examine(figures, self.run.settings)
        return [] if found is None else [found]

    def findings(self, figures: list[TowerFigures] | None = None) -> dict[str, list[Finding]]:
        """What the tests say now, by tower, without hysteresis; those without a word left out."""
        figures = self.figures() if figures is None else figures
        return {each.tower: found for each in figures if (found := self._examine(each))}

    def diagnose(self, figures: list[TowerFigures]) -> dict[str, list[Diagnosis]]:
        """`findings` as the stream would carry them, with ids and places."""
        return {
            tower: self._books[tower].preview(found, self.run.step)
            for tower, found in self.findings(figures).items()
        }

    @property
    def diagnoses(self) -> list[Diagnosis]:
        """Diagnoses of towers that hold in the stream."""
        books = self._books.values() if self.towers else ()
        return [found for book in books for found in book.active]

    def summary(self) -> dict[str, Any]:
        """The original's keys: each tracker's summary, and zombies and dead rows over all.

        Towers stand beside them under `towers`: the observation's values of each.
        """
        summary: dict[str, Any] = {}
        for key, tracker in self.trackers.items():
            made: Any = getattr(tracker, "summary", None)
            if isinstance(made, Callable):
                made = made()
            if made is not None:
                summary[key] = made
        found = list(summary.values())
        summary["global_zombies"] = sum(each.get("zombie_count", 0) for each in found)
        summary["global_dead"] = sum(each.get("dead_count", 0) for each in found)
        if self.towers:
            summary["towers"] = {
                each.tower: observation(each, self._layers[each.tower]).values
                for each in self.figures()
            }
        return summary

    def report(self) -> None:
        """Print a report on towers and trackers to standard output."""
        print(f"GradTracer: {self.name}")  # noqa: T201
        figures = self.figures()
        for each in figures:
            print(  # noqa: T201
                f"  {each.tower}: {each.pace.value:.2g} of its norm a step, gradient "
                f"{each.gradient.value:.2g}"
            )
        for found in (f for each in self.findings(figures).values() for f in each):
            print(f"{found.type}: {found.premise}\n  {found.action}")  # noqa: T201
        for key, tracker in self.trackers.items():
            print(f"[{key}]")  # noqa: T201
            tracker.report()

    def detach(self) -> None:
        """Stop observing, and so the trackers; figures stay readable."""
        if self._active:
            self._active = False
            remove_watcher(self)
        for tracker in self.trackers.values():
            if hasattr(tracker, "detach"):
                tracker.detach()

    def __deepcopy__(self, memo: dict[int, Any]) -> FlowManager:
        """The same: a copied model is another model, which this one does not observe."""
        return self
