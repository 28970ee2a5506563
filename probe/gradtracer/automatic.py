"""Observation without a call in the script: it begins when an optimizer first steps.

Loaded and begun by `python -m gradtracer`. Until that step the embedding tables keep their
look-ups, so that none is missed.
"""

from __future__ import annotations

import logging
import weakref

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer

from gradtracer.analyzers.forward_hook import keep_look_ups, stop_keeping
from gradtracer.project import main_script, project_root
from gradtracer.roots import models_of
from gradtracer.run import Run, begin_run, ever_begun, open_run
from gradtracer.settings import load_settings
from gradtracer.stepping import when_an_optimizer_first_steps
from gradtracer.watching import observe
from gradtracer_schemas import SourceSite

_log = logging.getLogger("gradtracer")


class AutomaticObservation:
    """Observes every model that an optimizer trains, unless the script does so itself."""

    def __init__(self, settings: dict[str, object]) -> None:
        """`settings` as for `watch`; they have been checked."""
        self.began = False
        """Whether there was anything to observe, by us or by the script itself."""
        self._settings = settings
        self._run: Run | None = None
        self._models: list[weakref.ref[nn.Module]] = []
        self._keeping: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._stands_aside = False
        self._known: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def begin(self) -> None:
        """Wait for an optimizer's first step. To be called before any module is built."""
        register_module_parameter_registration_hook(self._on_parameter)
        when_an_optimizer_first_steps(self._first_step)

    def _on_parameter(self, module: nn.Module, _name: str, _value: object) -> None:
        if not self._stands_aside and isinstance(module, nn.Embedding | nn.EmbeddingBag):
            keep_look_ups(module)
            self._keeping.add(module)

    def _first_step(self, optimizer: Optimizer) -> None:
        if optimizer in self._known:
            return
        self._known.add(optimizer)
        self.began = True
        try:
            if ever_begun() if self._run is None else open_run() is not self._run:
                self._stand_aside()
            else:
                self._observe(optimizer)
        except Exception:
            _log.exception("GradTracer cannot observe this model; training is not affected")

    def _stand_aside(self) -> None:
        """The script watches by itself, or has ended the run that was begun for it."""
        self._stands_aside = True
        for table in self._keeping:
            stop_keeping(table)

    def _observe(self, optimizer: Optimizer) -> None:
        run = self._run
        if run is not None and all(model() is None for model in self._models):
            # A loop over folds or settings: another model, another run.
            run.finish(reason="another model began to train")
            run = None
        if run is None:
            settings = load_settings(project_root(main_script()), **self._settings)
            run = begin_run(Run(settings=settings, watch_site=SourceSite(), automatic=True))
            self._run = run
            self._models.clear()
        for model in models_of(optimizer):
            self._models.append(weakref.ref(model))
            observe(model, run, settings=run.settings, site=run.watch_site)
