"""Where the user's code builds each optimizer, and where it first takes a step.

Both are what edits of the training begin from. Frames are kept as (code, instruction), as for
modules, and become statements when a report asks.
"""

from __future__ import annotations

import logging
import weakref
from functools import wraps
from typing import TYPE_CHECKING, Any

from gradtracer.callsite import Place, calling_places, site_at
from gradtracer.importing import when_imported
from gradtracer_schemas import SourceSite

if TYPE_CHECKING:
    from torch.optim import Optimizer

_log = logging.getLogger("gradtracer")


class TrainingSites:
    """The places of one optimizer."""

    def __init__(self) -> None:
        self.built: list[Place] = []
        """The calls that were building it, innermost first."""
        self.stepped: list[Place] | None = None
        """The calls that led to its first step; None before it."""
        self._related: dict[str, SourceSite] = {}

    def related(self) -> dict[str, SourceSite]:
        """The sites by role: `optimizer` and `step`, each where it is known.

        Reads the user's source when first asked; not for the training thread.
        """
        for role, places in (("optimizer", self.built), ("step", self.stepped)):
            if places and role not in self._related:
                site = site_at(places)
                if site.frames:
                    self._related[role] = site
        return dict(self._related)


_sites: weakref.WeakKeyDictionary[Optimizer, TrainingSites] = weakref.WeakKeyDictionary()


def install() -> None:
    """Start recording where optimizers are built, now or as soon as torch has been imported."""
    when_imported("torch.optim.optimizer", _record_constructions)


def _record_constructions(module: Any) -> None:
    # PyTorch has hooks for an optimizer's steps and none for its construction.
    construct = module.Optimizer.__init__

    @wraps(construct)
    def recorded(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        try:
            training_sites(self).built = calling_places(built=self)
        except Exception:
            _log.debug("the line of an optimizer cannot be recorded", exc_info=True)
        construct(self, *args, **kwargs)

    module.Optimizer.__init__ = recorded


def training_sites(optimizer: Optimizer) -> TrainingSites:
    """The places of an optimizer, which fill as it is built and steps."""
    found = _sites.get(optimizer)
    if found is None:
        found = _sites[optimizer] = TrainingSites()
    return found


def record_step(optimizer: Optimizer) -> None:
    """Keep the calls that lead here, once for each optimizer: it is about to take a step."""
    sites = training_sites(optimizer)
    if sites.stepped is None:
        sites.stepped = []
        try:
            sites.stepped = calling_places()
        except Exception:
            _log.debug("the line of an optimizer's step cannot be recorded", exc_info=True)
