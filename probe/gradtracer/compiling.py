"""What compiled training code calls of ours, kept out of its graphs.

Traced, it would be compiled anew whenever a count in it changes, and its lists rewritten under the
reporting thread. Imports no torch before it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from gradtracer.importing import when_imported

_Function = TypeVar("_Function", bound=Callable[..., Any])


def when_compiling(callback: Callable[[], None]) -> None:
    """Call `callback()` at once if `torch.compile` was used, else right before its first use."""
    # Which no training imports that compiles nothing.
    when_imported("torch._inductor.compiler_bisector", lambda _: callback())


def outside_graphs(function: _Function) -> _Function:
    """The function as a compiled one calls it: uncompiled, between two graphs.

    Only where something is compiled: it makes a call some microseconds slower.
    """
    import torch

    return cast("_Function", torch.compiler.disable(function))
