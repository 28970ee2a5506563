"""Which observer follows which layers: those whose weights one optimizer holds, on one device.

In the training thread, at the start of a burst: weights may have been replaced or moved, and
another optimizer may have taken over.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from gradtracer.analyzers.layer_modules import Layer
from gradtracer.analyzers.layer_observer import LayerObserver
from gradtracer.analyzers.optimizer_facts import OptimizerFacts, facts_by_parameter, held_by
from gradtracer.stepping import forget_matches

_log = logging.getLogger("gradtracer")


class LayerAssignment:
    """Observers of the layers `names`, made by `make` when an optimizer first steps on them."""

    def __init__(
        self, names: dict[Layer, str], make: Callable[[list[Layer]], LayerObserver]
    ) -> None:
        self._names, self._make = names, make
        self._by_optimizer: weakref.WeakKeyDictionary[Optimizer, list[LayerObserver]] = (
            weakref.WeakKeyDictionary()
        )
        self._by_hand: list[LayerObserver] = []
        self._saved: list[dict[str, Any]] = []
        """States of observers that are still to be made."""
        self.all: list[LayerObserver] = []
        self.facts: dict[Layer, OptimizerFacts | None] = {}
        """What the optimizer of each layer did to it at its last burst; it may be gone since."""

    def known(self, optimizer: Optimizer) -> Sequence[LayerObserver]:
        """Observers of the optimizer's layers, as they were at its last step."""
        return self._by_optimizer.get(optimizer, ())

    def before_step(self, optimizer: Optimizer, step: int) -> list[LayerObserver]:
        """Observers of the layers that `optimizer` is about to step on, in the run's `step`."""
        observers = self._by_optimizer.get(optimizer)
        if observers is None or any(observer.at_burst_start for observer in observers):
            observers = self._renewed(observers or [], optimizer, step)
            self._by_optimizer[optimizer] = observers
            self._note_facts(optimizer, observers)
        return observers

    def by_hand(self, step: int) -> list[LayerObserver]:
        """Observers of layers that no optimizer steps on."""
        self._by_hand = self._renewed(self._by_hand, None, step)
        return self._by_hand

    def state_dict(self, step: int) -> list[dict[str, Any]]:
        """For each observer its layers' names and its state."""
        states = [
            {
                "layers": [self._names[layer] for layer in observer.layers],
                "observer": observer.state_dict(step),
            }
            for observer in self.all
        ]
        return states + self._saved

    def load_state_dict(self, states: list[dict[str, Any]], step: int) -> None:
        """Hand saved states to the observers of the same layers, now or once they are made."""
        self._saved = states
        self._resume(self.all, step)

    def _renewed(
        self, known: list[LayerObserver], optimizer: Optimizer | None, step: int
    ) -> list[LayerObserver]:
        """Observers at the start of a burst: of the same weights, or of those that took over."""
        held = held_by(optimizer)
        kept = [o for o in known if not o.at_burst_start or o.renew()]
        if optimizer is not None and optimizer not in self._by_optimizer:
            kept += self._taken_over(held)
        elsewhere = {id(o) for others in self._by_optimizer.values() for o in others} - {
            id(o) for o in known
        }
        gone = [o for o in self.all if id(o) not in elsewhere and o not in kept]
        if gone:
            self.all = [observer for observer in self.all if observer not in gone]
            forget_matches()
            _log.info("weights were replaced or moved; observation of their layers starts anew")
        taken = {layer for observer in self.all for layer in observer.layers}
        if len(taken) == len(self._names):
            return kept
        places: dict[torch.device, list[Layer]] = {}
        for layer in self._names:
            weights = [] if layer in taken else layer.weights
            if weights and (held is None or all(id(weight) in held for weight in weights)):
                places.setdefault(weights[0].device, []).append(layer)
        added = [self._make(layers) for layers in places.values()]
        self.all += added
        if self._saved:
            self._resume(added, step)
        return kept + added

    def _resume(self, observers: list[LayerObserver], step: int) -> None:
        """Hand each of them the saved state of its layers, if there is one."""
        for observer in observers:
            names = [self._names[layer] for layer in observer.layers]
            for state in [each for each in self._saved if each["layers"] == names]:
                self._saved.remove(state)
                observer.load_state_dict(state["observer"], step)

    def _taken_over(self, held: set[int] | None) -> list[LayerObserver]:
        """Observers of another optimizer, all of whose weights a new one holds: it goes on."""
        found = [
            observer
            for observer in self.all
            if held is not None
            and all(id(w) in held for layer in observer.layers for w in layer.weights)
            and observer.renew()
        ]
        for others in self._by_optimizer.values():
            others[:] = [observer for observer in others if observer not in found]
        return found

    def _note_facts(self, optimizer: Optimizer, observers: list[LayerObserver]) -> None:
        facts = facts_by_parameter(optimizer)
        for layer in (layer for observer in observers for layer in observer.layers):
            weights = layer.weights
            if weights:
                self.facts[layer] = facts.get(id(weights[0]))
