"""EmbeddingTracker: everything known about one embedding table while it trains.

Longer than most modules, as it is the whole face of a tracker: what PyTorch calls, what the run
calls, and the methods that users of the original system call.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer

from gradtracer.analyzers.breaks import first_break
from gradtracer.analyzers.call_order import CallOrder
from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.forward_hook import listen
from gradtracer.analyzers.optimizer_facts import OptimizerFacts, TrainedBy, optimizer_facts
from gradtracer.analyzers.original_methods import OriginalMethods
from gradtracer.analyzers.table_figures import TableFigures, observation, row_saliency
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.analyzers.table_reports import TableReports
from gradtracer.analyzers.table_state import (
    exposure_of_all,
    pack_state,
    read_state,
    unpack_state,
)
from gradtracer.audit import AutoFixAuditLogger
from gradtracer.auto_fix.switch import AutoFixSwitch
from gradtracer.callsite import call_site, locate_module
from gradtracer.diagnoses.book import DiagnosisBook
from gradtracer.diagnoses.finding import Finding
from gradtracer.diagnoses.tables import EMBEDDING
from gradtracer.exceptions import NothingToWatch
from gradtracer.ranks import place_among_ranks
from gradtracer.statistics.start_share import StartShare
from gradtracer.stepping import add_watcher, count_steps, forget_matches, remove_watcher
from gradtracer.training_sites import TrainingSites, training_sites
from gradtracer.unregistered import Holder
from gradtracer_schemas import (
    Diagnosis,
    LayerWatched,
    ObservationEvent,
    SourceSite,
)

if TYPE_CHECKING:
    from gradtracer.run import Run

_log = logging.getLogger("gradtracer")


class EmbeddingTracker(OriginalMethods):
    """Observes one `nn.Embedding` or `nn.EmbeddingBag`.

    Attach it once; the forward pass and the optimizer's step do the rest. `step()` may still be
    called in the loop, as the original system required, and is then harmless.

    Args:
        embedding_layer: the table.
        name: layer name in reports; by default the attribute it was assigned to.
        auto_fix: shrink the updates of rows named by ZOMBIE_EMBEDDINGS (`auto_fix/`); give the loss
            to `step` or `run.log`, as it waits while the loss still improves.
        track_interval: follow gradients at 1/track_interval of the steps, in bursts. Exposure is
            counted at every step.
        run: the run to report to; by default the process's current one, begun when needed.

    Raises:
        NothingToWatch: `embedding_layer` is no embedding.
    """

    def __init__(
        self,
        embedding_layer: nn.Embedding | nn.EmbeddingBag,
        name: str | None = None,
        auto_fix: bool = False,
        track_interval: int = 1,
        *,
        run: Run | None = None,
        site: SourceSite | None = None,
        watch_site: SourceSite | None = None,
        kept_in: Holder | None = None,
    ) -> None:
        if not isinstance(embedding_layer, nn.Embedding | nn.EmbeddingBag):
            raise NothingToWatch(
                "expected an nn.Embedding or nn.EmbeddingBag, got "
                f"{type(embedding_layer).__name__}; pass e.g. EmbeddingTracker(model.item_emb)"
            )
        if run is None:
            from gradtracer.run import current_run

            run = current_run()
        self.layer = embedding_layer
        self.run = run
        self.site = locate_module(embedding_layer) if site is None else site
        self.name = run.unique_layer_name(name or self.site.attribute or "embedding")
        self.num_embeddings = embedding_layer.num_embeddings
        self.embedding_dim = embedding_layer.embedding_dim
        self.track_interval = max(1, int(track_interval))
        self._auto_fix = AutoFixSwitch(run, self.name, self.track_interval)
        self._kept_in = kept_in
        self.steps = self._loaded_steps = 0
        self.looks_ahead = True
        self._counts_step = True
        self._order = CallOrder(self.name)
        self._active = run.observing
        self._optimizer: weakref.ref[Optimizer] | None = None
        self._facts: OptimizerFacts | None = None
        self._training: TrainingSites | None = None
        self._weight: torch.Tensor = embedding_layer.weight
        self._observer = self._observe()
        self._reports = self._begin_reports()
        if auto_fix:
            self.set_auto_fix(True, reason="")
        self._watch_site = watch = call_site() if watch_site is None else watch_site
        self._book = DiagnosisBook(
            run.id, self.name, self.site, {"watch": watch} if watch.frames else {}
        )
        if not self._active:
            return
        self._stop_listening = listen(embedding_layer, self)
        add_watcher(self)
        count_steps(run)
        run.attach(self, self._declaration())

    def _observe(self) -> TableObserver:
        return TableObserver(
            self._weight.detach(),
            track_interval=self.track_interval,
            seed=self.run.settings.seed,
            padding_idx=self.layer.padding_idx,
        )

    @property
    def auto_fix(self) -> bool:
        """Whether it is on, or will be at the next step."""
        return self._auto_fix.on

    @property
    def audit_logger(self) -> AutoFixAuditLogger | None:
        """Where auto-fix writes; None where it never was on."""
        return self._auto_fix.audit

    def set_auto_fix(self, enabled: bool, *, reason: str) -> bool:
        """Turn auto-fix on or off from the next step on; see `AutoFixSwitch.turn`."""
        return self._auto_fix.turn(enabled, self._weight, reason=reason)

    def _begin_reports(self) -> TableReports:
        return TableReports(self.run, self._weight, self.layer.padding_idx, self.steps)

    @property
    def start_share(self) -> StartShare | None:
        """What the latest report says of the values that the table began with."""
        return self._reports.start_share

    def _declaration(self) -> LayerWatched:
        return LayerWatched(
            layer=self.name,
            type=type(self.layer).__name__,
            shape=list(self._weight.shape),
            dtype=str(self._weight.dtype).removeprefix("torch."),
            device=str(self._weight.device),
            trainable=self._weight.requires_grad,
            site=self.site,
            watch=self._watch_site,
            settings={"auto_fix": self.auto_fix, "track_interval": self.track_interval},
        )

    # In the training thread: nothing below may raise, wait for the device, or cost O(table).

    def parameters(self) -> Iterable[torch.Tensor]:
        """The observed parameter, as it is now."""
        return (self.layer.weight,)

    def looked_up(self, ids: torch.Tensor) -> None:
        """Called after a forward pass in training that succeeded."""
        if not self._active:
            return
        try:
            # The attribute goes through a method of nn.Module, at every step.
            weight = self.layer._parameters.get("weight")  # pyright: ignore[reportPrivateUsage]
            if weight is not self._weight:
                self._follow_parameter()
            trains = self._weight.requires_grad
            if not (trains and self.looks_ahead):
                self._follow_device()
            self._observer.look_up(ids, trains=trains)
        except Exception:
            self._fail("counting look-ups")

    def before_step(self, optimizer: Optimizer) -> None:
        """Called right before the optimizer that holds the table steps, unless it is asleep."""
        self._counts_step = self._is_own(optimizer)
        if self._active:
            try:
                self._observe_gradient()
            except Exception:
                self._fail("following the gradient")
        if self._auto_fix.begun:
            self._auto_fix.before_step(optimizer, self._weight)

    def after_step(self, optimizer: Optimizer) -> None:
        """Called right after."""
        observer = self._observer
        if not self._active:
            if not self._auto_fix.begun:
                return
        elif not self.looks_ahead:
            known = self._optimizer
            own = (known is not None and known() is optimizer) or self._is_own(optimizer)
            self._counts_step = own
            try:
                self.looks_ahead = own and observer.pass_over()
            except Exception:
                self._fail("counting look-ups")
                return
        elif observer.pauses and self._order.is_right and self._optimizer is not None:
            self.looks_ahead = False
        self.steps += self._counts_step
        if self._auto_fix.begun:
            self.looks_ahead = True
            self._auto_fix.after_step(self._weight, observer, self.steps - self._loaded_steps)
        if observer.waits and self._active:
            try:
                observer.after_step(self._weight)
            except Exception:
                self._fail("following the update")

    def _is_own(self, optimizer: Optimizer) -> bool:
        """Whether a step of this optimizer is a step of the table; then it is known from now on."""
        known = self._optimizer() if self._optimizer is not None else None
        # Of two optimizers that hold the table, the second steps on what the first one has.
        own = known is None or known is optimizer or self._observer.has_pending
        if own and known is not optimizer:
            self._optimizer = weakref.ref(optimizer)
            self._training = training_sites(optimizer)
        return own

    def step(self, loss: Any = None) -> None:
        """Tell the loss, as `run.log(loss=...)` does; otherwise kept for the original's loops.

        Where the updates are written by hand, call it after them, before gradients are cleared.
        """
        if loss is not None:
            self.run.log(loss=loss)
        if self._optimizer is not None or not self._active:
            return
        try:
            self._observe_gradient()
            self._observer.after_step(self._weight)
            self.steps += 1
            self.run.stepped(self)
        except Exception:
            self._fail("following the update")

    def take_loss(self, loss: Any) -> None:
        """Called when the training tells its loss."""
        self._auto_fix.take_loss(loss, self._observer)

    def _observe_gradient(self) -> None:
        self._follow_device()
        weight, observer = self._weight, self._observer
        # A pause follows a burst, which has seen one: to ask for it makes an object in vain.
        grad = None if observer.pauses else weight.grad
        if not self._order.is_right:
            expected = weight.requires_grad and observer.has_pending
            self._order.notice(gradient=grad is not None, expected=expected)
        observer.before_step(weight, grad, self.run.step)

    def _follow_parameter(self) -> None:
        """Observe the parameter that the table has now, which may still be the same."""
        # Where it is computed (`torch.nn.utils.parametrize`) it is no parameter of the layer's.
        if self.layer.weight is not self._weight:
            self._begin_anew(self.layer.weight)

    def _follow_device(self) -> None:
        """A parameter that was moved is the same object."""
        if self._weight.device != self._observer.device:
            passes = self._observer.batch if self._observer.has_pending else []
            self._begin_anew(self._weight)
            for ids in passes:
                self._observer.look_up(ids, trains=True)

    def _begin_anew(self, weight: torch.Tensor) -> None:
        self._weight = weight
        self._observer = self._observe()
        self._reports = self._begin_reports()
        self._auto_fix.replaced(weight)
        self.looks_ahead = True
        forget_matches()
        _log.info("%s: its weight was replaced or moved; observation starts anew", self.name)

    def _fail(self, doing: str) -> None:
        """Switch off, say so once, and let the training go on."""
        self._active, self.looks_ahead = False, True
        self._auto_fix.observation_failed()
        self.run.fault(self.name, f"stopped observing while {doing}")

    def forget(self) -> None:
        """Become inert: this is a copy in another process."""
        self._active, self.looks_ahead = False, True
        self._auto_fix.forget()

    # In the reporting thread, or when the user asks.

    def set_track_interval(self, interval: int) -> None:
        """Follow 1/interval of the steps from the next burst on."""
        self.track_interval = interval
        self._observer.set_interval(interval)

    def declarations(self) -> list[LayerWatched]:
        """The table, with the settings as they are now."""
        return [self._declaration()]

    def figures(self) -> TableFigures:
        """Measure everything now. O(N log N); waits for the device.

        Of several ranks the first one sees what all of them counted, the others themselves alone.
        To be called where the training is: look-ups that no step has followed are counted first.
        """
        self._observer.count_pending()
        if self.run.streams:
            self.run.ranks.collect()
        return self._measure(now=True)

    def follow_first_rank(self) -> None:
        """Take over what the first rank says of auto-fix; see `auto_fix/agreement.py`."""
        self._auto_fix.follow()

    def rank_state(self, *, final: bool) -> bytes:
        """What this rank knows of the table, for the rank that reports (see `ranks.py`)."""
        if final:
            self._observer.count_pending()
        return pack_state(read_state(self._observer))

    def first_nonfinite(self, *, now: bool = False) -> int:
        """The run's step at which the table's gradient first was not finite; -1 for none."""
        if now:
            self._observer.count_pending()
        return int(self._observer.first_nonfinite)

    def _measure(self, *, now: bool = False) -> TableFigures:
        figures = self._reports.measure(self.name, self._observer, self.steps)
        optimizer = self._optimizer() if self._optimizer is not None else None
        if optimizer is not None:
            # Kept, as the last report is made when the script's own variables are gone.
            self._facts = optimizer_facts(optimizer, self._weight)
        unheld = self._facts is None and self.steps == 0
        layers = [each for each in list(self.run.trackers) if isinstance(each, FlowTracker)]
        return figures._replace(
            optimizer=self._facts,
            layers_broke=first_break(layers, now=now) if figures.nonfinite_steps else -1,
            trainable=self._weight.requires_grad,
            unheld=self._reports.stands if unheld else 0,
            kept_in=self._kept_in,
            auto_fix=self.auto_fix,
        )

    @property
    def trained_by(self) -> TrainedBy | None:
        """The optimizer of the table; None until a report has seen it step."""
        if self._facts is None:
            return None
        return TrainedBy(self._facts, self._training, self._weight.numel())

    def publish(self, *, final: bool = False) -> None:
        """Measure, stream the figures, and say what changed among the diagnoses.

        In the run's own thread; for the `final` report the training stands still.
        """
        figures = self.figures() if final else self._measure()
        self._reports.published(figures, self.steps)
        if self._training is not None:
            self._book.relate(self._training.related())
        self.run.emit(ObservationEvent, observation(figures))
        for event_class, body in self._book.update(
            self.findings(figures), self.run.step, final=final
        ):
            self.run.emit(event_class, body)
        self._auto_fix.report(self._weight, self._observer, final=final)

    def findings(self, figures: TableFigures | None = None) -> list[Finding]:
        """What the tests say now, without hysteresis."""
        figures = self.figures() if figures is None else figures
        return [
            finding
            for examine in EMBEDDING
            if (finding := examine(figures, self.run.settings)) is not None
        ]

    def diagnose(self, figures: TableFigures) -> list[Diagnosis]:
        """`findings` as the stream would carry them, with ids and places."""
        return self._book.preview(self.findings(figures), self.run.step)

    @property
    def diagnoses(self) -> list[Diagnosis]:
        """Diagnoses that hold in the stream."""
        return self._book.active

    def state_dict(self) -> dict[str, Any]:
        """State to save beside the model's, to go on from it; of several ranks the first one's."""
        self._observer.count_pending()
        state = self._observer.state_dict()
        if place_among_ranks().world_size > 1 and self.run.streams:
            self.run.ranks.collect()
            others = [unpack_state(packed) for packed in self.run.ranks.of(self.name)]
            state["exposure"] = exposure_of_all(state["exposure"], others, self._reports.notes)
        return {
            "rows": self.num_embeddings,
            "dim": self.embedding_dim,
            "steps": self.steps,
            "observer": state,
            "staleness": self._reports.state_dict(),
            "auto_fix": self._auto_fix.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        All ranks, of any number, may load the first one's: it goes on counting for all of them,
        the others begin anew, and what they count is added.

        Raises:
            ValueError: it is no tracker's state, or one of a table of another shape.
        """
        try:
            shape = (state["rows"], state["dim"])
            if shape == (self.num_embeddings, self.embedding_dim) and place_among_ranks().rank:
                self.steps = self._loaded_steps = int(state["steps"])
                return
            if shape == (self.num_embeddings, self.embedding_dim):
                notes = state["observer"]["exposure"]["notes"]
                self._reports.load_state_dict(state["staleness"], notes)
                self._observer.load_state_dict(state["observer"])
                self.steps = self._loaded_steps = int(state["steps"])
                self._auto_fix.load_state_dict(state.get("auto_fix"))
                return
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"expected the result of a tracker's state_dict(), got a state without {error}"
            ) from None
        raise ValueError(
            f"expected the state of a table of {self.num_embeddings} x {self.embedding_dim}, got "
            f"one of {shape[0]} x {shape[1]}; load it into the tracker it was saved from"
        )

    def saliency(self) -> npt.NDArray[np.float32]:
        """`[N]` look-ups x mean squared gradient x |w|^2 / D: what each row is worth to the loss.

        To compare rows of this table. NaN for rows never followed twice in succession, and for
        `padding_idx`. Source and derivation: `statistics/saliency.py`.
        """
        return row_saliency(self.figures().table, self._weight.detach())

    def detach(self) -> None:
        """Stop observing; figures stay readable. A second call does nothing."""
        if self._active:
            self._active, self.looks_ahead = False, True
            self._stop_listening()
            remove_watcher(self)
            self._auto_fix.end()

    def __deepcopy__(self, memo: dict[int, Any]) -> EmbeddingTracker:
        """The same tracker: a copied model is another model, which this one does not observe."""
        return self
