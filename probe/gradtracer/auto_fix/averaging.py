"""RowAverage: a running average of each row of a table, to serve in place of the last update.

Training is untouched. Averaging the iterates gives up the noise of the last steps (Polyak and
Juditsky, SIAM J. Control Optim. 30, 1992); here each row has a clock of its own, as rows of a table
are updated at very different rates. After an optimizer step, for every row of the batch,

    n += 1;  rho = max(floor, c / (n + c));  a += rho (w - a)

Constant rho alone is the exponential average; c / (n + c) weighs the k-th value by about k^(c-1)
(polynomial-decay averaging: Shamir and Zhang, ICML 2013, section 4), so that where the row came
from is forgotten.

Longer than most modules: swapping tables to the bit, in chunks, is half of it.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, SupportsFloat

import torch
from torch import nn
from torch.optim import Optimizer

from gradtracer.analyzers.forward_hook import ForwardHook
from gradtracer.auto_fix.put_rows import put_rows
from gradtracer.auto_fix.rounding_noise import RoundingNoise
from gradtracer.exceptions import NothingToWatch, SettingsError
from gradtracer.stepping import add_watcher, remove_watcher

_log = logging.getLogger("gradtracer")

_CHUNK = 65_536
_MAX_PENDING = 64


class Choice(NamedTuple):
    """What `RowAverage.better` found."""

    trained: float
    """Metric of the table as it was trained."""
    averaged: float
    """Metric of the averaged table."""
    serves: str
    """`averaged` or `trained`: what the layer holds now."""


class RowAverage:
    """Averages the rows of one `nn.Embedding` or `nn.EmbeddingBag`, beside its training.

        average = RowAverage(model.item_emb)
        ...                                       # the training loop, as it is
        choice = average.better(lambda: ndcg(model, validation))
        torch.save(model.state_dict(), path)      # holds the better table

    It costs O(batch rows) at a step, without waiting for the device, and a second copy of the
    table: `memory` says how many bytes. Rows that no batch has reached are served as they are.
    Where the training was cut short an average lags behind and is worse, so nothing is served
    unless the metric says so.

    Args:
        layer: the table. Where its weight is replaced or moved, the average follows; where it gets
            another shape, averaging ends and says so.
        c: weight of the late values; 10 leaves no lag of the start.
        floor: smallest rho: at .005 about the last 200 exposures of a row are averaged.
        dtype: of the average; the weight's own, or `torch.bfloat16` for half the memory. There each
            step is rounded up or down at random (from a generator of ours), since a step of .005 is
            below half a unit of bfloat16 and would be lost.
        seed: of that rounding.

    Raises:
        NothingToWatch: `layer` is no embedding.
        SettingsError: `c` or `floor` out of range, another `dtype`.
    """

    looks_ahead = False

    def __init__(
        self,
        layer: nn.Embedding | nn.EmbeddingBag,
        c: float = 10.0,
        floor: float = 0.005,
        dtype: torch.dtype | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if not isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            raise NothingToWatch(
                f"expected an nn.Embedding or nn.EmbeddingBag, got {type(layer).__name__}; pass "
                "e.g. RowAverage(model.item_emb)"
            )
        if not c > 0 or not 0 <= floor <= 1:
            raise SettingsError(
                f"expected c above 0 and floor from 0 to 1, got c={c!r}, floor={floor!r}; e.g. "
                "c=10, floor=0.005"
            )
        weight = layer.weight.detach()
        if dtype not in (None, weight.dtype, torch.bfloat16):
            raise SettingsError(
                f"expected dtype=None or torch.bfloat16, got {dtype}; None is the weight's own"
            )
        self.layer = layer
        self._c, self._floor, self._seed = float(c), float(floor), seed
        self._averages = weight.to(dtype or weight.dtype, copy=True)
        self._counts = torch.zeros(weight.shape[0], dtype=torch.int32, device=weight.device)
        self._noise: RoundingNoise | None = None
        self._pending: list[torch.Tensor] = []
        self._trained: torch.Tensor | None = None
        self._swapped = False
        self._held = False
        self._active = True
        self._listening = layer.register_forward_hook(ForwardHook(self), with_kwargs=True)
        layer.register_forward_pre_hook(_TrainingResumes(self))
        add_watcher(self)
        _log.info("averaging %d rows takes %.1f MB", weight.shape[0], self.memory / 1e6)

    @property
    def memory(self) -> int:
        """Bytes beyond the training's own; while a bfloat16 average is served, a table more."""
        tensors = [self._averages, self._counts]
        if self._trained is not None:
            tensors.append(self._trained)
        return sum(each.numel() * each.element_size() for each in tensors)

    @property
    def averaging(self) -> bool:
        """False after `detach`, or when the table got another shape."""
        return self._active

    # In the training thread: nothing below may raise, wait for the device, or cost O(table).

    def parameters(self) -> Iterable[torch.Tensor]:
        """The averaged parameter, as it is now."""
        return (self.layer.weight,)

    def looked_up(self, ids: torch.Tensor) -> None:
        """Called after a forward pass in training that succeeded."""
        if self._active:
            self._pending.append(ids)
            # Passes that no step follows.
            del self._pending[:-_MAX_PENDING]

    def before_step(self, optimizer: Optimizer) -> None:
        """Called right before the optimizer steps."""

    def after_step(self, optimizer: Optimizer) -> None:
        """Called right after."""
        pending, self._pending = self._pending, []
        if not self._active or not pending:
            return
        try:
            with torch.no_grad():
                self._take(self.layer.weight.detach(), pending)
        except Exception:
            self._active = False
            _log.exception("GradTracer: stopped averaging rows; training is not affected")

    def _take(self, weight: torch.Tensor, pending: list[torch.Tensor]) -> None:
        if weight.shape != self._averages.shape:
            self._active = False
            _log.warning(
                "the averaged table has now shape %s, and had %s: averaging ends",
                list(weight.shape),
                list(self._averages.shape),
            )
            return
        if weight.device != self._averages.device:
            self._averages = self._averages.to(weight.device)
            self._counts = self._counts.to(weight.device)
            self._noise = None
        parts = [ids.reshape(-1).long() for ids in pending]
        ids = parts[0] if len(parts) == 1 else torch.cat(parts)
        # A row that the batch holds twice gets the same value twice.
        counts = self._counts.index_select(0, ids).add_(1)
        self._counts.index_copy_(0, ids, counts)
        rho = self._c / (counts.float() + self._c)
        rho = rho.clamp_(min=self._floor).unsqueeze(1)
        averages = self._averages.index_select(0, ids)
        new = weight.index_select(0, ids)
        if averages.dtype == new.dtype:
            averages.lerp_(new, rho.to(new.dtype))
        else:
            averages = self._rounded(averages.float().lerp_(new.float(), rho))
        put_rows(self._averages, ids, averages)

    def _rounded(self, values: torch.Tensor) -> torch.Tensor:
        """`values` `[B, D]` float32 in bfloat16, up or down so that the mean is kept; in place.

        Equal rows of a batch may be rounded apart; which of them stays is left to the device.
        """
        if self._noise is None:
            self._noise = RoundingNoise(values.shape[1], values.device, self._seed)
        # The upper half of a float32 is a bfloat16: adding noise below it carries by chance.
        bits = values.view(torch.int32).add_(self._noise.draw(values.shape[0]))
        return bits.bitwise_and_(-(1 << 16)).view(torch.float32).to(torch.bfloat16)

    def resume(self) -> None:
        """Called before a forward pass in training: it is to find the trained table."""
        if self._swapped and not self._held:
            self.restore()

    # When the user asks.

    def average(self) -> torch.Tensor:
        """`[N, D]` the averaged table as it would be served, in the weight's dtype; a copy."""
        weight = self.layer.weight.detach()
        if self._swapped:
            return weight.clone()
        seen = (self._counts > 0).unsqueeze(1)
        return torch.where(seen, self._averages.to(weight.dtype), weight)

    def swap(self) -> RowAverage:
        """Put the averaged table into the layer; as a context, until the block ends.

            with average.swap():
                print(ndcg(model, test))

        The next forward pass in training (with gradients, outside such a block) puts the trained
        table back by itself, to the bit, as does `restore`.
        """
        if not self._swapped:
            self._exchange()
        return self

    def restore(self) -> None:
        """Put the trained table back into the layer; nothing where it is there."""
        if self._swapped:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        weight = self.layer.weight.detach()
        if self._averages.dtype == weight.dtype:
            for begin in range(0, weight.shape[0], _CHUNK):
                rows = slice(begin, begin + _CHUNK)
                seen = (self._counts[rows] > 0).unsqueeze(1)
                trained = weight[rows].clone()
                weight[rows] = torch.where(seen, self._averages[rows], trained)
                self._averages[rows] = torch.where(seen, trained, self._averages[rows])
        elif self._trained is None:
            served, self._trained = self.average(), weight.clone()
            weight.copy_(served)
        else:
            weight.copy_(self._trained)
            self._trained = None
        self._swapped = not self._swapped

    def better(self, evaluate: Callable[[], SupportsFloat], *, maximize: bool = True) -> Choice:
        """Evaluate both tables and leave the better one in the layer.

        The trained one where they are equal or the average's metric is not finite. Train on as you
        like: the next step begins from the trained table.

        Args:
            evaluate: returns the metric of the model as it stands, e.g. on validation data.
            maximize: False for a loss.
        """
        values: list[float] = []
        for put in (self.restore, self.swap):
            put()
            self._held = True
            try:
                values.append(float(evaluate()))
            except BaseException:
                self._held = False
                self.restore()
                raise
            self._held = False
        trained, averaged = values
        gain = averaged - trained if maximize else trained - averaged
        if math.isnan(trained) and math.isfinite(averaged):
            gain = math.inf
        if gain > 0 and math.isfinite(averaged):
            return Choice(trained, averaged, "averaged")
        self.restore()
        return Choice(trained, averaged, "trained")

    def __enter__(self) -> RowAverage:
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._held = False
        self.restore()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs, whichever table is in the layer; copies."""
        averages = self._averages
        if self._swapped and self._trained is None:
            seen = (self._counts > 0).unsqueeze(1)
            averages = torch.where(seen, self.layer.weight.detach(), averages)
        return {"averages": averages.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: it is no average's state, or one of a table of another shape.
        """
        try:
            averages, counts = state["averages"], state["counts"]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"expected a RowAverage's state_dict(), got one without {error}"
            ) from None
        if averages.shape != self._averages.shape:
            raise ValueError(
                f"expected the average of a table of {list(self._averages.shape)}, got "
                f"{list(averages.shape)}; load it into the one it was saved from"
            )
        self.restore()
        self._averages.copy_(averages)
        self._counts.copy_(counts)

    def detach(self) -> None:
        """Stop averaging; what was averaged stays to be served. A second call does nothing."""
        self._active = False
        self._listening.remove()
        remove_watcher(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> RowAverage:
        """The same average: a copied model is another model, which this one does not follow."""
        return self


class _TrainingResumes:
    """The hook before a forward pass; left out of copies and checkpoints of the model."""

    def __init__(self, average: RowAverage | None) -> None:
        self._average = weakref.ref(average) if average is not None else None

    def __call__(self, module: nn.Module, _args: Any) -> None:
        average = self._average() if self._average is not None else None
        if average is not None and module.training and torch.is_grad_enabled():
            average.resume()

    def __deepcopy__(self, memo: dict[int, Any]) -> _TrainingResumes:
        return _TrainingResumes(None)

    def __reduce__(self) -> tuple[type[_TrainingResumes], tuple[None]]:
        return (_TrainingResumes, (None,))
