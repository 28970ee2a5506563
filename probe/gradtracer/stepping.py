"""Optimizer steps, told to whoever observes one of the optimizer's parameters.

Uses PyTorch's hooks that are common to all optimizers, so that no user need name theirs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from gradtracer.compiling import outside_graphs, when_compiling
from gradtracer.training_sites import record_step


class StepWatcher(Protocol):
    """Something that observes parameters."""

    @property
    def looks_ahead(self) -> bool:
        """Whether `before_step` is to be called at the next step."""
        ...

    def parameters(self) -> Iterable[torch.Tensor]:
        """The parameters it observes, as they are now."""
        ...

    def before_step(self, optimizer: Optimizer) -> None:
        """Called right before an optimizer that holds one of them takes a step; never raises."""
        ...

    def after_step(self, optimizer: Optimizer) -> None:
        """Called right after."""
        ...


class StepCounter(Protocol):
    """Something that counts optimizer steps, whatever they step on."""

    def stepped(self, source: object) -> None:
        """`source`, an optimizer, has stepped; never raises."""
        ...


_counters: list[weakref.ref[StepCounter]] = []
_watchers: list[weakref.ref[StepWatcher]] = []
_newcomers: list[Callable[[Optimizer], None]] = []
_handles: list[RemovableHandle] = []
_compiles = False
"""Whether `torch.compile` was used in this process."""
_Match = tuple[weakref.ref[Optimizer], list[int], list[weakref.ref[StepWatcher]]]
"""An optimizer, the sizes of its parameter groups, and who observes one of its parameters."""
_matches: weakref.WeakKeyDictionary[Optimizer, _Match] = weakref.WeakKeyDictionary()
_latest: _Match | None = None
"""That of the latest step: most trainings have one optimizer, and weak keys are slow."""


def add_watcher(watcher: StepWatcher) -> None:
    """Begin to tell `watcher`; it is held weakly."""
    _install()
    _watchers.append(weakref.ref(watcher))
    forget_matches()


def when_an_optimizer_first_steps(callback: Callable[[Optimizer], None]) -> None:
    """Call `callback(optimizer)` right before a first step; maybe more than once, never raising."""
    _install()
    _newcomers.append(callback)


def _install() -> None:
    # Not while PyTorch goes through its hooks: the first call must come before any step.
    if not _handles:
        before = outside_graphs(_before) if _compiles else _before
        after = outside_graphs(_after) if _compiles else _after
        _handles.append(register_optimizer_step_pre_hook(before))
        _handles.append(register_optimizer_step_post_hook(after))


def _remove() -> None:
    for handle in _handles:
        handle.remove()
    _handles.clear()


def _keep_out_of_graphs() -> None:
    global _compiles
    _compiles = True
    if _handles:
        _remove()
        _install()


when_compiling(_keep_out_of_graphs)


def count_steps(counter: StepCounter) -> None:
    """Tell `counter` of every optimizer's steps; it is held weakly, and told once."""
    if all(ref() is not counter for ref in _counters):
        _install()
        _counters[:] = [ref for ref in _counters if ref() is not None]
        _counters.append(weakref.ref(counter))


def remove_watcher(watcher: StepWatcher) -> None:
    """Stop telling it; with the last one the hooks go too."""
    _watchers[:] = [ref for ref in _watchers if ref() not in (None, watcher)]
    forget_matches()
    if not _watchers and not _newcomers and not any(ref() for ref in _counters):
        _remove()


def forget_matches() -> None:
    """Look again which watcher belongs to which optimizer, e.g. after a parameter was replaced."""
    global _latest
    _matches.clear()
    _latest = None


# What follows runs at every step, with code and data that are not in the cache: each call of a
# function costs a microsecond.


def _before(
    optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    match = _latest
    shape = [len(group["params"]) for group in optimizer.param_groups]
    if match is None or match[0]() is not optimizer or match[1] != shape:
        match = _find(optimizer, shape)
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if closure is None:
        for ref in match[2]:
            watcher = ref()
            if watcher is not None and watcher.looks_ahead:
                watcher.before_step(optimizer)
        return None

    # The forward and backward pass run within this step: Lightning's way, and LBFGS's.
    def closure_then_tell() -> Any:
        loss = closure()
        _before(optimizer, (optimizer,), {})
        return loss

    if len(args) > 1:
        return (args[0], closure_then_tell, *args[2:]), kwargs
    return args, {**kwargs, "closure": closure_then_tell}


def _after(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
    # Who was told before, unless the step itself changed who there is.
    match = _latest
    if match is None or match[0]() is not optimizer:
        match = _matches.get(optimizer)
    if match is not None:
        for ref in match[2]:
            watcher = ref()
            if watcher is not None:
                watcher.after_step(optimizer)
    for ref in _counters:
        counter = ref()
        if counter is not None:
            counter.stepped(optimizer)


def _find(optimizer: Optimizer, shape: list[int]) -> _Match:
    """The optimizer's match, of groups of this `shape`."""
    global _latest
    match = _matches.get(optimizer)
    if match is None or match[1] != shape:
        for callback in _newcomers:
            callback(optimizer)
        record_step(optimizer)
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        matching = [
            ref
            for ref in _watchers
            if (watcher := ref()) is not None and any(id(p) in held for p in watcher.parameters())
        ]
        _matches[optimizer] = match = (weakref.ref(optimizer), shape, matching)
    _latest = match
    return match
