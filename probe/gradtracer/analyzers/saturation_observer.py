"""Looks at what enters the layers of a model, where it came from a saturating activation.

Hooks stand before every module that takes such values, whether the activation is a module or a
function. They are of no use to a model without one, so those that met none in the first burst are
taken away. Runs in the training thread; reads nothing back from a device.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.loss import _Loss  # pyright: ignore[reportPrivateUsage]
from torch.utils.hooks import RemovableHandle

from gradtracer.analyzers.activation_graph import Origin, origin_of
from gradtracer.analyzers.burst import BURST
from gradtracer.analyzers.layer_modules import Layer
from gradtracer.statistics.saturation import PassedGradient, Saturation, saturation, slope

_EVERY = 4
"""Of the followed steps: a layer's activations change slowly."""
_PASS_ON = (
    nn.Flatten,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Identity,
    nn.Sigmoid,
    nn.Tanh,
    nn.Unflatten,
    _Loss,
)
"""Take no part: what comes out of a model in the end may well be saturated."""


class SaturationObserver:
    """What L layers put into saturating activations.

    `failed` is called, and nothing is looked at any more, when a look raises.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], failed: Callable[[], None]
    ) -> None:
        self.due = True
        """Whether the forward pass now under way is to be looked at."""
        self._layers = tuple(layers)
        self._failed = failed
        self._followed = 0
        self._owner: dict[int, int] = {}
        self._passed: dict[int, tuple[str, PassedGradient]] = {}
        self._saved: dict[int, dict[str, Any]] = {}
        self._hooks: list[tuple[_Entrance, RemovableHandle]] = []
        for module in model.modules():
            if next(module.children(), None) is None and not isinstance(module, _PASS_ON):
                hook = _Entrance(self)
                self._hooks.append((hook, module.register_forward_pre_hook(hook)))

    def stepped(self, *, followed: bool) -> None:
        """A step is over; the coming one is `followed` or not."""
        self._owner.clear()
        self._followed += followed
        self.due = followed and self._followed % _EVERY == 0
        if self._followed == BURST:
            # One that was never called stands in a compiled graph, which would be made anew.
            useless = (hook for hook, _ in self._hooks if hook.called and hook.origin is None)
            self._keep({hook for hook, _ in self._hooks}.difference(useless))

    def _keep(self, kept: set[_Entrance]) -> None:
        for hook, handle in self._hooks:
            if hook not in kept:
                handle.remove()
        self._hooks = [each for each in self._hooks if each[0] in kept]

    def entered(self, hook: _Entrance, x: torch.Tensor) -> None:
        """`x` enters a module in a pass that is to be looked at; never raises."""
        try:
            if hook.origin is None:
                hook.origin = origin_of(x, self._owners())
            if hook.origin is not None:
                with torch.no_grad():
                    self._look(hook.origin, x.detach())
        except Exception:
            self.close()
            self._failed()

    def _owners(self) -> dict[int, int]:
        """Layers by the ids of their weights and biases, as they are in this step."""
        if not self._owner:
            for at, layer in enumerate(self._layers):
                for weight in (*layer.weights, layer.bias):
                    if weight is not None:
                        self._owner.setdefault(id(weight), at)
        return self._owner

    def _look(self, origin: Origin, x: torch.Tensor) -> None:
        weights = self._layers[origin.layer].weights
        out = _by_unit(x, weights[0]) if weights else None
        if out is None or out.numel() == 0:
            return
        known = self._passed.get(origin.layer)
        if known is None:
            known = origin.activation, PassedGradient(out.shape[1], out.device)
            self._passed[origin.layer] = known
            if origin.layer in self._saved:
                known[1].load_state_dict(self._saved.pop(origin.layer))
        known[1].add(slope(origin.activation, out, origin.limits))

    # In the reporting thread, or while the training stands still.

    def read(self, limit: float) -> dict[Layer, Saturation]:
        """What is known, by layer; waits for the device."""
        found: dict[Layer, Saturation] = {}
        for at, (activation, passed) in list(self._passed.items()):
            judged = saturation(activation, passed.read(), limit)
            if judged is not None:
                found[self._layers[at]] = judged
        return found

    def state_dict(self) -> dict[int, dict[str, Any]]:
        """By the layer's place among those observed."""
        return self._saved | {at: passed.state_dict() for at, (_, passed) in self._passed.items()}

    def load_state_dict(self, state: dict[int, dict[str, Any]]) -> None:
        """Go on from it; what a layer had comes back when it is next looked at."""
        self._saved = {int(at): each for at, each in state.items()}
        for at in self._passed.keys() & self._saved.keys():
            self._passed[at][1].load_state_dict(self._saved.pop(at))

    def close(self) -> None:
        """Take every hook away; what was seen stays readable."""
        self._keep(set())


class _Entrance:
    """A hook before a module, which copies of the model do not carry along."""

    def __init__(self, observer: SaturationObserver | None) -> None:
        self.origin: Origin | None = None
        self.called = False
        """Whether a pass came by that was no compiled one."""
        self._observer = weakref.ref(observer) if observer is not None else None

    def __call__(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        """As PyTorch calls a hook before a forward pass."""
        # What follows cannot be traced, and would break the user's graph in two.
        if torch.compiler.is_compiling():
            return
        observer = self._observer() if self._observer is not None else None
        if observer is None or not observer.due or not args:
            return
        self.called = True
        if type(args[0]) is torch.Tensor and args[0].grad_fn is not None:
            observer.entered(self, args[0])

    def __deepcopy__(self, memo: dict[int, Any]) -> _Entrance:
        return _Entrance(None)

    def __reduce__(self) -> tuple[type[_Entrance], tuple[None]]:
        return (_Entrance, (None,))


def _by_unit(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
    """`[examples, U]`: the entries of each output unit of the layer with this weight.

    None where they cannot be told apart, as after a layer that was split into several.
    """
    units = weight.shape[0]
    if weight.dim() > 2 and x.dim() > 2 and x.shape[1] == units:
        return x.transpose(1, -1).reshape(-1, units)
    if weight.dim() > 2 and x.dim() == 2 and x.shape[1] % units == 0:
        return x.view(x.shape[0], units, -1).transpose(1, 2).reshape(-1, units)
    return x.reshape(-1, units) if x.dim() > 1 and x.shape[-1] == units else None
