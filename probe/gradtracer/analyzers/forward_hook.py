"""The forward hook of a tracker, which copies of the model do not carry along."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

import torch
from torch import nn


class LookUpListener(Protocol):
    """Who is told about look-ups."""

    def looked_up(self, ids: torch.Tensor) -> None:
        """A forward pass used `ids` and succeeded; never raises."""
        ...


class ForwardHook:
    """Holds the listener weakly, and is left out of copies and checkpoints of the model."""

    def __init__(self, listener: LookUpListener | None) -> None:
        self._listener = weakref.ref(listener) if listener is not None else None

    def __call__(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any
    ) -> None:
        """As PyTorch calls a forward hook that takes keyword arguments."""
        listener = self._listener() if self._listener is not None else None
        if listener is not None:
            listener.looked_up(args[0] if args else kwargs["input"])

    def __deepcopy__(self, memo: dict[int, Any]) -> ForwardHook:
        return ForwardHook(None)

    def __reduce__(self) -> tuple[type[ForwardHook], tuple[None]]:
        return (ForwardHook, (None,))
