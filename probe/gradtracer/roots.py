"""Which models an optimizer trains: the outermost modules that hold its parameters."""

from __future__ import annotations

import gc

from torch import nn
from torch.optim import Optimizer

from gradtracer.callsite import built_modules


def models_of(optimizer: Optimizer) -> list[nn.Module]:
    """The fewest outermost modules that together hold the optimizer's parameters.

    A module is outermost when no living module has it as a child. Of two that hold the same
    parameters (an ensemble and a wrapper of it) the one that holds more of them counts. Wrappers of
    PyTorch's own (DDP, a compiled module) are taken off, so that layers keep the names they have in
    the script. Looks through all living objects only for parameters of a model that was never
    built here, such as one that was unpickled or copied.
    """
    wanted = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    found, left = _cover(built_modules(), wanted)
    if left:
        # type() and not isinstance: a proxy's __class__ may do anything
        modules = [item for item in gc.get_objects() if issubclass(type(item), nn.Module)]
        found, left = _cover(modules, wanted)
    return [unwrapped(module) for module in found]


def _cover(modules: list[nn.Module], wanted: set[int]) -> tuple[list[nn.Module], set[int]]:
    """Outermost modules chosen greedily, and the parameters that none of them holds."""
    children = {id(child) for module in modules for child in module.children()}
    held = [
        (parameters, module)
        for module in modules
        if id(module) not in children
        and (parameters := wanted.intersection(id(p) for p in module.parameters()))
    ]
    left = set(wanted)
    found: list[nn.Module] = []
    for parameters, module in sorted(held, key=lambda pair: -len(pair[0])):
        if parameters & left:
            found.append(module)
            left -= parameters
    return found, left


def unwrapped(module: nn.Module) -> nn.Module:
    """The model inside PyTorch's own wrappers, with the names it has in the script."""
    while True:
        children = dict(module.named_children())
        inner = children.get("_orig_mod")
        if inner is None and type(module).__module__.startswith("torch.nn.parallel."):
            inner = children.get("module")
        if inner is None:
            return module
        module = inner
