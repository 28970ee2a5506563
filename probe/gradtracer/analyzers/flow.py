"""FlowTracker: everything known about the layers of a model while it trains.

Longer than most modules, as it is the whole face of a tracker: what PyTorch calls, what the run
calls, and the methods that users of the original system call.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

from gradtracer.analyzers.layer_assignment import LayerAssignment
from gradtracer.analyzers.layer_figures import LayerFigures, observation
from gradtracer.analyzers.layer_modules import Layer, layers_of
from gradtracer.analyzers.layer_observer import LayerObserver
from gradtracer.analyzers.layer_report import layers_report
from gradtracer.analyzers.layer_reports import LayerReports, ReportedLayer
from gradtracer.analyzers.optimizer_facts import TrainedBy, largest_trained, told_by_scaler
from gradtracer.analyzers.saturation_observer import SaturationObserver
from gradtracer.analyzers.saved_layers import saved_layers
from gradtracer.callsite import call_site, locate_modules
from gradtracer.diagnoses.book import DiagnosisBook
from gradtracer.diagnoses.finding import Finding
from gradtracer.exceptions import NothingToWatch
from gradtracer.stepping import add_watcher, count_steps, remove_watcher
from gradtracer.training_sites import TrainingSites, training_sites
from gradtracer.unregistered import Holder
from gradtracer_schemas import Diagnosis, LayerWatched, LayerWatchedEvent, SourceSite

if TYPE_CHECKING:
    from gradtracer.run import Run


class FlowTracker:
    """Observes every layer of a model that has a trainable weight and is no embedding table.

    Attach it once; the optimizer's step does the rest. Compiled, checkpointed and copied models are
    as they were; hooks in the forward pass stay only where values come from a saturating
    activation. `step()` may be called in the loop, as the original system required; it is needed
    only where updates are written by hand.

    Args:
        model: any module.
        optimizer: not needed; an optimizer is known by its step. Accepted for old callers.
        track_interval: follow 1/track_interval of the steps, in bursts of 16 (at first, of 64).
        run: the run to report to; by default the process's current one, begun when needed.

    Raises:
        NothingToWatch: `model` is no module, or has no such layer.
    """

    name = ""
    """As a tracker it stands for several layers."""

    looks_ahead = True

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        track_interval: int = 1,
        *,
        run: Run | None = None,
        sites: dict[str, SourceSite] | None = None,
        watch_site: SourceSite | None = None,
        kept_in: Holder | None = None,
    ) -> None:
        del optimizer
        if not isinstance(model, nn.Module):
            raise NothingToWatch(
                f"expected a torch.nn.Module, got {type(model).__name__}; pass e.g. "
                "FlowTracker(model)"
            )
        if run is None:
            from gradtracer.run import current_run

            run = current_run()
        layers = layers_of(model, observed_modules(run))
        if not layers:
            raise NothingToWatch(
                f"{type(model).__name__} holds no layer with a trainable weight that is not "
                "observed already; pass e.g. FlowTracker(model)"
            )
        self.run, self.observed = run, weakref.ref(model)
        self.track_interval = max(1, int(track_interval))
        self.steps = 0
        self._active = run.observing
        self._clock: weakref.ref[Optimizer] | None = None
        self._losses: list[Any] = []
        self._training: TrainingSites | None = None
        self._watched: dict[Layer, ReportedLayer] = {}
        self._watch_site = watch = call_site() if watch_site is None else watch_site
        sites = locate_modules(model) if sites is None else sites
        for layer in layers:
            name = run.unique_layer_name(layer.name or layer.kind.lower())
            site = sites.get(layer.path, SourceSite())
            related = {"watch": watch} if watch.frames else {}
            book = DiagnosisBook(run.id, name, site, related)
            self._watched[layer] = ReportedLayer(name, site, book)
        self._assigned = LayerAssignment(
            {layer: watched.name for layer, watched in self._watched.items()}, self._observe
        )
        self._saturation = SaturationObserver(
            model if self._active else nn.Module(),
            layers,
            lambda: run.fault("", "stopped looking at activations"),
        )
        self._reports = LayerReports(run, self._watched, self._assigned, self._saturation, kept_in)
        if not self._active:
            return
        add_watcher(self)
        count_steps(run)
        first, *others = self.declarations()
        run.attach(self, first)
        for declaration in others:
            run.emit(LayerWatchedEvent, declaration)

    def _observe(self, layers: list[Layer]) -> LayerObserver:
        return LayerObserver(
            layers,
            track_interval=self.track_interval,
            seed=self.run.settings.seed,
            stagnation_ratio=self.run.settings.stagnation_ratio,
        )

    def declarations(self) -> list[LayerWatched]:
        """The layers whose weights still exist, with the settings as they are now."""
        return [self._declaration(layer) for layer in self._watched if layer.weights]

    def _declaration(self, layer: Layer) -> LayerWatched:
        weight = layer.weights[0]
        return LayerWatched(
            layer=self._watched[layer].name,
            type=layer.kind,
            shape=list(weight.shape),
            dtype=str(weight.dtype).removeprefix("torch."),
            device=str(weight.device),
            site=self._watched[layer].site,
            watch=self._watch_site,
            settings={"track_interval": self.track_interval},
        )

    # In the training thread: nothing below may raise or wait for the device.

    def modules(self) -> list[nn.Module]:
        """The modules under observation that still exist."""
        found = (layer.reference() for layer in self._watched)
        return [module for module in found if module is not None]

    def parameters(self) -> Iterable[torch.Tensor]:
        """The observed weights, as they are now."""
        for layer in self._watched:
            yield from layer.weights

    def before_step(self, optimizer: Optimizer) -> None:
        """Called right before an optimizer that holds some of the weights steps."""
        if not self._active:
            return
        try:
            for observer in self._assigned.before_step(optimizer, self.run.step):
                if observer.idle:
                    observer.rest(self.run.step, told_by_scaler(optimizer, "found_inf"))
                    continue
                with torch.no_grad():
                    scale, skipped = (
                        told_by_scaler(optimizer, "grad_scale"),
                        told_by_scaler(optimizer, "found_inf"),
                    )
                    observer.before_step(self.run.step, scale, skipped)
        except Exception:
            self._fail("following gradients")

    def after_step(self, optimizer: Optimizer) -> None:
        """Called right after."""
        if not self._active:
            return
        try:
            for observer in self._assigned.known(optimizer):
                if observer.measuring:
                    with torch.no_grad():
                        observer.after_step(self.run.step + 1)
            clock = self._clock() if self._clock is not None else None
            if clock is None:
                self._clock = weakref.ref(optimizer)
                self._training = training_sites(optimizer)
            if clock is None or clock is optimizer:
                self._count()
        except Exception:
            self._fail("following updates")

    def step(self, loss: Any = None, metrics: dict[str, Any] | None = None) -> None:
        """Show `loss` and `metrics` beside the progress.

        Where updates are written by hand, call it after them, before gradients are cleared: then
        gradients are followed, while updates cannot be.
        """
        if loss is not None:
            self._losses = _first_least_last(self._losses, loss)
        self.run.log(loss, **(metrics or {}))
        if self._clock is not None or not self._active:
            return
        try:
            with torch.no_grad():
                for observer in self._assigned.by_hand(self.run.step):
                    observer.observe_by_hand(self.run.step)
            self._count()
            self.run.stepped(self)
        except Exception:
            self._fail("following gradients")

    def _count(self) -> None:
        self.steps += 1
        followed = any(not observer.idle for observer in self._assigned.all)
        self._saturation.stepped(followed=followed)

    def _fail(self, doing: str) -> None:
        """Switch off, say so once, and let the training go on."""
        self._active = False
        self._saturation.close()
        self.run.fault("", f"stopped observing layers while {doing}")

    def forget(self) -> None:
        """Become inert: this is a copy in another process."""
        self._active = False
        self._saturation.close()

    # In the reporting thread, or when the user asks.

    def set_track_interval(self, interval: int) -> None:
        """Follow 1/interval of the steps from the next burst on."""
        self.track_interval = interval
        for observer in self._assigned.all:
            observer.set_interval(interval)

    def figures(self) -> list[LayerFigures]:
        """Measure everything now; waits for the device. To be called where the training is."""
        return self._reports.figures()

    def first_nonfinite(self, *, now: bool = False) -> int:
        """The run's step at which a layer's gradient first was not finite; -1 for none.

        As far as reported; up to `now` where it is asked for where the training is.
        """
        return self._reports.first_nonfinite(now=now)

    @property
    def trained_by(self) -> TrainedBy | None:
        """The optimizer of the largest layer; None until it has stepped."""
        return largest_trained(list(self._assigned.facts.items()), self._training)

    def publish(self, *, final: bool = False) -> None:
        """Stream the figures of new bursts, and say what changed among the diagnoses.

        In the run's own thread; for the `final` report the training stands still.
        """
        related = self._training.related() if self._training is not None else {}
        self._reports.publish(related, final=final)

    def findings(self, figures: list[LayerFigures] | None = None) -> dict[str, list[Finding]]:
        """What the tests say now, by layer, without hysteresis; layers without a word left out."""
        return self._reports.findings(figures)

    def diagnose(self, figures: list[LayerFigures]) -> dict[str, list[Diagnosis]]:
        """`findings` as the stream would carry them, with ids and places."""
        return self._reports.diagnose(figures)

    @property
    def sites(self) -> dict[str, SourceSite]:
        """Where each layer is defined."""
        return {watched.name: watched.site for watched in self._watched.values()}

    @property
    def diagnoses(self) -> list[Diagnosis]:
        """Diagnoses that hold in the stream."""
        return self._reports.diagnoses

    def state_dict(self) -> dict[str, Any]:
        """State to save beside the model's, where the training is, to go on from it later."""
        with torch.no_grad():
            observers = self._assigned.state_dict(self.run.step)
        losses = [float(loss) for loss in self._losses]
        return {
            "steps": self.steps,
            "losses": losses,
            "observers": observers,
            "saturation": self._saturation.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        What was saved of the layers of one optimizer goes to the same layers, once they have taken
        a step; where they are dealt out to optimizers otherwise now, they begin anew.

        Raises:
            ValueError: it is no tracker's state, or one of other layers.
        """
        self.steps, self._losses, observers = saved_layers(state, self.sites)
        self._saturation.load_state_dict(state.get("saturation", {}))
        with torch.no_grad():
            self._assigned.load_state_dict(observers, self.run.step)

    # As in the original system, with the same meanings.

    @property
    def summary(self) -> dict[str, Any]:
        """The original's keys."""
        result: dict[str, Any] = {
            "total_steps": self.steps,
            "num_layers": len(self._watched),
            "layer_names": list(self.sites),
        }
        if self._losses:
            first, least, last = (float(value) for value in self._losses)
            result |= {
                "loss_first": first,
                "loss_last": last,
                "loss_min": least,
                "loss_improvement": first - last,
            }
        return result

    @property
    def history(self) -> dict[str, dict[str, list[float]]]:
        """For each layer, its gradient norm and update ratio over the bursts of the run."""
        return {figures.layer: observation(figures).curves for figures in self.figures()}

    def report(self, top_k: int = 5) -> None:
        """Print a report to standard output, with at most `top_k` findings."""
        figures = self.figures()
        print(layers_report(figures, self.findings(figures), top_k))  # noqa: T201

    def export_for_agent(self, save: bool = False) -> str:
        """JSON for programs and coding agents, see `AgentExporter.export_flow`."""
        from gradtracer.agent import AgentExporter

        return AgentExporter.export_flow(self, save)

    def detach(self) -> None:
        """Stop observing; figures stay readable. A second call does nothing."""
        if self._active:
            self._active = False
            self._saturation.close()
            remove_watcher(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> FlowTracker:
        """The same tracker: a copied model is another model, which this one does not observe."""
        return self


def observed_modules(run: Run) -> set[nn.Module]:
    """Modules that a FlowTracker of this run observes."""
    trackers = (tracker for tracker in run.trackers if isinstance(tracker, FlowTracker))
    return {module for tracker in trackers for module in tracker.modules()}


def _first_least_last(known: list[Any], loss: Any) -> list[Any]:
    value = loss.detach() if isinstance(loss, torch.Tensor) else loss
    if not known:
        return [value, value, value]
    first, least, _ = known
    if isinstance(least, torch.Tensor) and isinstance(value, torch.Tensor):
        return [first, torch.minimum(least, value), value]
    return [first, min(least, value), value]
