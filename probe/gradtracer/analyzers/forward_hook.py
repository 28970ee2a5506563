"""The forward hook of a tracker, which copies of the model do not carry along."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

_MAX_EARLY = 256


class LookUpListener(Protocol):
    """Who is told about look-ups."""

    def looked_up(self, ids: torch.Tensor) -> None:
        """A training pass used `ids` and succeeded; never raises."""
        ...


class ForwardHook:
    """Holds the listener weakly, and is left out of copies and checkpoints of the model.

    Set on a table before anyone listens (`early`), it keeps the ids until a listener comes: a model
    that is observed from its first optimizer step on has made look-ups before that step.
    """

    def __init__(self, listener: LookUpListener | None, *, early: bool = False) -> None:
        self._listener = weakref.ref(listener) if listener is not None else None
        self._early: list[torch.Tensor] | None = [] if early else None
        self._began_early = early
        self._without_grad = 0

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any
    ) -> None:
        """As PyTorch calls a forward hook that takes keyword arguments."""
        listener = self._listener() if self._listener is not None else None
        if listener is None and self._early is None:
            return
        ids = args[0] if args else kwargs["input"]
        if not module.training or type(ids) is not torch.Tensor:
            # Tracing for export runs it on tensors without content.
            return
        if not torch.is_grad_enabled():
            self._without_grad += 1
            return
        # What is not asked while compiling cannot be traced, and would break the graph in two.
        # PyTorch has no public word for "inside a backward pass".
        if (
            not torch.compiler.is_compiling()
            and (
                torch._C._current_graph_task_id() != -1 or self._without_grad  # pyright: ignore[reportPrivateUsage]
            )
            and self._runs_again()
        ):
            return
        if listener is not None:
            listener.looked_up(ids)
        elif self._early is not None and len(self._early) < _MAX_EARLY:
            self._early.append(ids.detach())

    @property
    def keeps(self) -> bool:
        """Whether it still waits for a listener."""
        return self._early is not None

    def hand_over(self, listener: LookUpListener) -> bool:
        """Tell `listener` from now on, and first of what was kept. False: another one listens."""
        early = self._early
        if early is None:
            return False
        self._listener, self._early = weakref.ref(listener), None
        for ids in early:
            listener.looked_up(ids)
        return True

    def close(self) -> None:
        """Tell nobody any more."""
        self._listener = self._early = None

    def _runs_again(self) -> bool:
        """Whether a forward pass is no look-up of its own.

        Activation checkpointing runs a forward twice, the second time within the backward pass:
        that one counts only where the first ran without gradients (the reentrant kind).
        """
        if torch._C._current_graph_task_id() == -1:  # pyright: ignore[reportPrivateUsage]
            self._without_grad = 0
            return False
        self._without_grad -= 1
        return self._without_grad < 0

    def __deepcopy__(self, memo: dict[int, Any]) -> ForwardHook:
        return ForwardHook(None, early=self._began_early)

    def __reduce__(self) -> tuple[type[ForwardHook], tuple[None]]:
        return (ForwardHook, (None,))


def keep_look_ups(table: nn.Module) -> None:
    """Keep what passes through `table` until a tracker takes it over."""
    if not _hooks_on(table):
        table.register_forward_hook(ForwardHook(None, early=True), with_kwargs=True)


def stop_keeping(table: nn.Module) -> None:
    """Let go of what was kept for a tracker that will not come."""
    for hook in _hooks_on(table):
        if hook.keeps:
            hook.close()


def listen(table: nn.Module, listener: LookUpListener) -> Callable[[], None]:
    """Tell `listener` of the table's look-ups until the function returned is called.

    A hook that keeps look-ups is taken over, not replaced: a graph that was compiled with it would
    not see another one.
    """
    for hook in _hooks_on(table):
        if hook.hand_over(listener):
            return hook.close
    return table.register_forward_hook(ForwardHook(listener), with_kwargs=True).remove


def _hooks_on(table: nn.Module) -> list[ForwardHook]:
    hooks = table._forward_hooks.values()  # pyright: ignore[reportPrivateUsage] no public word
    return [hook for hook in hooks if isinstance(hook, ForwardHook)]
