"""Scales the updates of chosen rows, so that the intervention has the size that it states.

A gradient times s gives a step times s under plain SGD alone: Adam, RMSprop and Adagrad divide the
gradient's own scale out again, and momentum carries what came before. So the *update* is scaled,
around `optimizer.step`: w = before + s (after - before), whatever made it (momentum and weight
decay included). No gradient is written.

That holds for optimizers which keep what they know apart from the weights, as those of
`torch.optim` do. One that keeps weights of its own would undo it, so for an optimizer that is not
known the gradient is scaled instead: `.grad` is another tensor for the time of the step, and the
one that others share is left as it is and put back.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch.optim import Optimizer

from gradtracer.auto_fix.put_rows import put_rows

UNTOUCHED = 255
"""Level of a row whose updates are left alone."""


Scales = Literal["update", "gradient", "nothing"]


class Way(NamedTuple):
    """How an optimizer's steps can be scaled."""

    scales: Scales
    reason: str = ""
    """Why not its updates, in a sentence; empty where they are."""


def way_of(optimizer: Optimizer) -> Way:
    """By class: one of `torch.optim`, or derived from one."""
    name = type(optimizer).__name__
    if isinstance(optimizer, torch.optim.LBFGS):
        return Way("nothing", f"{name} searches along a line: a row of its step cannot be scaled")
    homes = {base.__module__ for base in type(optimizer).__mro__ if base is not Optimizer}
    if any(home == "torch.optim" or home.startswith("torch.optim.") for home in homes):
        return Way("update")
    return Way(
        "gradient",
        f"{name} is no optimizer of torch.optim, and may keep weights of its own: gradients are "
        "scaled instead of updates, which has no effect where it divides by their scale",
    )


class Levels(NamedTuple):
    """Rows to scale, on the table's device."""

    taken: torch.Tensor
    """`[N]` uint8: 255 x what is taken from each row's update, 0 where it is left alone."""
    rows: torch.Tensor
    """`[R]` int64: rows above 0."""
    most: bool
    """Whether they are more than half."""


class _Before(NamedTuple):
    rows: torch.Tensor | None
    """`[R]` int64, maybe with repetitions; None: all of them."""
    weight: torch.Tensor
    taken: torch.Tensor
    """`[R, 1]` uint8."""


class RowScaler:
    """Factors of the rows of one table `[N, D]`, in 1 byte a row on its device while any acts.

    A step with a sparse gradient costs O(batch rows); on the host it is the number of operations
    that counts, as each finds its code driven from the cache. With a dense one the optimizer moves
    every row, so all R chosen ones are read before and written after: a copy of R rows for the time
    of the step, of what an optimizer itself takes for temporaries. Nothing waits for the device.
    """

    def __init__(self) -> None:
        self._levels: Levels | None = None
        self._before: _Before | None = None
        self._shared: torch.Tensor | None = None

    @property
    def acts(self) -> bool:
        """Whether any row is scaled."""
        return self._levels is not None

    def scale(self, levels: torch.Tensor | None) -> None:
        """From the next step on scale row i by `levels[i]` / 255; None: nothing. See `prepared`."""
        self.use(None if levels is None else self.prepared(levels, levels.device))

    @staticmethod
    def prepared(levels: torch.Tensor, device: torch.device) -> Levels | None:
        """For `use`, on `device`; None where nothing is scaled.

        `levels`: `[N]` uint8; 255 leaves a row alone to the bit. To be made anew for each call, as
        a step may still be reading the last. Waits for the device that they are on.
        """
        taken = UNTOUCHED - levels
        rows = taken.nonzero().flatten()
        if not rows.numel():
            return None
        return Levels(taken.to(device), rows.to(device), 2 * rows.numel() > taken.numel())

    def use(self, levels: Levels | None) -> None:
        """Scale by what is `prepared` from the next step on; from any thread."""
        self._levels = levels

    def before_step(self, weight: torch.Tensor, scales: Literal["update", "gradient"]) -> None:
        """The optimizer is about to step on `weight`."""
        levels, grad = self._levels, weight.grad
        self._before = self._shared = None
        if levels is None or grad is None or levels.taken.numel() != weight.size(0):
            return
        if scales == "gradient":
            weight.grad, self._shared = _scaled(grad, levels), grad
            return
        # Detached, so that nothing below is recorded.
        weight, sparse = weight.detach(), grad.is_sparse
        if levels.most and not sparse:
            # One pass over the table is quicker than half of its rows one by one.
            self._before = _Before(None, weight.clone(), levels.taken.unsqueeze(1))
            return
        rows = grad._indices()[0] if sparse else levels.rows
        taken = levels.taken.index_select(0, rows)
        if sparse and not levels.most and rows.is_cpu:
            # Where most of them act, to find them takes longer than to copy the rest as it is.
            acts = taken.nonzero().view(-1)
            rows, taken = rows.index_select(0, acts), taken.index_select(0, acts)
        if rows.numel():
            self._before = _Before(rows, weight.index_select(0, rows), taken.unsqueeze(1))

    def after_step(self, weight: torch.Tensor) -> None:
        """The optimizer has stepped."""
        if self._shared is not None:
            weight.grad, self._shared = self._shared, None
        before, self._before = self._before, None
        if before is None:
            return
        weight = weight.detach()
        if before.rows is None:
            # With a factor of 1, lerp gives its end to the bit.
            torch.lerp(before.weight, weight, _factors(before.taken, weight.dtype), out=weight)
            return
        after = weight.index_select(0, before.rows)
        # Where nothing is taken, it stays to the bit.
        after.addcmul_(before.weight.sub_(after), before.taken, value=1 / UNTOUCHED)
        put_rows(weight, before.rows, after)


def _factors(taken: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`[R, 1]` 0 to 1."""
    return torch.div(UNTOUCHED - taken, UNTOUCHED).to(dtype)


@torch.no_grad()
def _scaled(grad: torch.Tensor, levels: Levels) -> torch.Tensor:
    """A gradient of its own with the chosen rows scaled."""
    if grad.is_sparse:
        rows = grad._indices()
        taken = levels.taken.index_select(0, rows[0]).unsqueeze(1)
        values = grad._values() * _factors(taken, grad.dtype)
        return torch.sparse_coo_tensor(
            rows, values, grad.shape, is_coalesced=grad.is_coalesced(), check_invariants=False
        )
    scaled = grad.clone()
    chosen = grad.index_select(0, levels.rows)
    taken = levels.taken.index_select(0, levels.rows).unsqueeze(1)
    chosen.mul_(_factors(taken, grad.dtype))
    return scaled.index_copy_(0, levels.rows, chosen)
