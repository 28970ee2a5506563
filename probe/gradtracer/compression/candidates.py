"""What could be done to each layer, with its bytes and the damage to be expected.

A unit is what must be decided together: a layer, the tables that meet in a dot product, or linear
layers that feed each other. Of a unit's candidates only those stay that none of no more bytes beats
in both damage and disturbance: a predicted gain is not relied upon.

Longer than most modules, as it holds every kind of candidate: they are compared with each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from msgspec.structs import replace as _replace
from numpy.typing import NDArray
from torch import Tensor, nn

from gradtracer.compression.factorisation import gram, joint_maps, low_rank_energy, table_map
from gradtracer.compression.formats import bytes_stored
from gradtracer.compression.layers import Layer, layers_of
from gradtracer.compression.loss_rise import LossRise, Rise
from gradtracer.compression.pruning import UNIT_SHARES, kept_units, taken_out, unit_saliency
from gradtracer.compression.row_format import stored_as
from gradtracer.compression.row_set import pack_rows, unpack_rows
from gradtracer.compression.row_tiers import tiered
from gradtracer.compression.sensitivity import Sensitivity, sample_rows
from gradtracer.compression.units import Candidate, Unit, as_it_is, both, unbeaten, unit_of
from gradtracer_schemas import Factor, LayerRecipe, Quantization, RowSet

_Mask = NDArray[np.bool_]
SAMPLED_ROWS = 4096
"""Rows of a larger table whose rounding is tried out."""
_RANKS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.1875, 0.125)
"""Shares of a table's width that are tried."""
_INTEGERS: tuple[Quantization, ...] = ("INT8", "INT4")
"""Formats of narrowed tables, and of layers that lose units."""
_PAIRS: tuple[tuple[Quantization, Quantization], ...] = (
    ("INT8", "INT8"),
    ("INT8", "INT4"),
    ("INT4", "INT8"),
    ("INT4", "INT4"),
)
"""Of two tables that are narrowed together."""
_LOW_RANK_FORMATS: tuple[Quantization, ...] = ("FP16", "INT8")
_LOW_RANK_ENERGY = 0.9
"""A linear layer is of low rank where that many columns hold this share of its energy."""


class CandidateMaker:
    """Makes the units of a model."""

    def __init__(
        self,
        model: nn.Module,
        sensitivity: Sensitivity,
        *,
        measures: bool,
        meets: Sequence[tuple[str, str]] = (),
        chains: Sequence[Sequence[str]] = (),
    ) -> None:
        self._sensitivity = sensitivity
        self._measures = measures
        """The metric will be measured: formats that need it are offered."""
        self.layers = layers_of(model)
        by_name = {layer.name: layer for layer in self.layers}
        self._partners: dict[str, list[str]] = {}
        for one, other in meets:
            fits = all(name in by_name and not by_name[name].aliases for name in (one, other))
            if fits and not any(by_name[name].reason for name in (one, other)):
                self._partners.setdefault(one, []).append(other)
                self._partners.setdefault(other, []).append(one)
        self._by_name = by_name
        self._chains = {chain[0]: [by_name[name] for name in chain] for chain in chains}
        loss = sensitivity.loss
        self._rise = None if loss is None else LossRise(model, loss)

    def units(self) -> list[Unit]:
        """Every unit with its candidates; layers that nothing can be done to are none."""
        units: list[Unit] = []
        done = {layer.name for chain in self._chains.values() for layer in chain[1:]}
        for layer in self.layers:
            if layer.reason or layer.name in done:
                continue
            chain = self._chains.get(layer.name)
            if chain is not None:
                done |= {each.name for each in chain}
                units.append(unit_of(tuple(chain), self._chain(chain)))
                continue
            partners = self._partners.get(layer.name, [])
            if len(partners) == 1 and self._partners[partners[0]] == [layer.name]:
                other = self._by_name[partners[0]]
                done |= {layer.name, other.name}
                units.append(unit_of((layer, other), self._pair(layer, other)))
            elif isinstance(layer.module, nn.Linear):
                units.append(unit_of((layer,), self._linear(layer)))
            else:
                units.append(unit_of((layer,), self._table(layer)))
        return units

    def _linear(self, layer: Layer) -> Iterable[Candidate]:
        for quantization in self._formats():
            yield self._storage(layer, LayerRecipe(quantization=quantization))
        if layer.aliases:
            return
        P, singular, Qt = torch.linalg.svd(layer.weight.double(), full_matrices=False)
        for share in _RANKS[3:]:
            rank = int(share * len(singular))
            if rank < 1 or low_rank_energy(singular, rank) < _LOW_RANK_ENERGY:
                continue
            product = (P[:, :rank] * singular[:rank] @ Qt[:rank]).to(layer.weight.dtype)
            for quantization in _LOW_RANK_FORMATS:
                entry = LayerRecipe(quantization=quantization, low_rank=rank)
                yield self._candidate({layer.name: (entry, product - layer.weight)}, (layer,))

    def _chain(self, chain: list[Layer]) -> Iterable[Candidate]:
        """Each layer on its own; units taken out between two of them, and between all."""
        together = [Candidate({}, 0, 0.0, 0.0)]
        for layer in chain:
            alone = unbeaten([*self._linear(layer), as_it_is([layer])])
            together = unbeaten(
                both(one, other) for one, other in itertools.product(together, alone)
            )
        yield from together
        saliency = [
            unit_saliency(one, other, self._sensitivity) for one, other in itertools.pairwise(chain)
        ]
        widths = range(len(saliency))
        together = [tuple(widths), *((at,) for at in widths)]
        for chosen, share in itertools.product(dict.fromkeys(together), UNIT_SHARES):
            kept = [kept_units(saliency[at], share) if at in chosen else None for at in widths]
            for quantization in _INTEGERS:
                changes = taken_out(chain, kept, quantization)
                yield self._candidate(
                    {
                        name: (entry, _at(change, self._rows(self._by_name[name])))
                        for name, (entry, change) in changes.items()
                    },
                    chain,
                )

    def _table(self, layer: Layer) -> Iterable[Candidate]:
        for dropped, base in itertools.product(self._droppable(layer), self._bases(layer)):
            yield self._storage(layer, _without(base, dropped))
        if layer.aliases or getattr(layer.module, "max_norm", None) is not None:
            return
        if getattr(layer.module, "mode", None) == "max":
            return
        rows = self._rows(layer)
        for dropped in self._droppable(layer):
            kept = None if dropped is None else torch.from_numpy(~dropped).to(layer.weight.device)
            moments = gram(layer.weight, kept)
            for rank in _ranks(layer.weight.shape[1])[1:]:
                if rank > len(layer.weight):
                    continue
                A = table_map(moments, rank).to(layer.weight.dtype)
                narrow = _at(layer.weight, rows) @ A
                for quantization in _INTEGERS:
                    change = stored_as(narrow, quantization) @ A.T.float()
                    change = change - _at(layer.weight, rows)
                    entry = LayerRecipe(quantization=quantization, factor=Factor(rank=rank))
                    entry = _without(entry, dropped)
                    yield self._candidate({layer.name: (entry, change)}, (layer,))

    def _pair(self, one: Layer, other: Layer) -> Iterable[Candidate]:
        dropped = [self._droppable(layer) for layer in (one, other)]
        plain = [
            [
                self._storage(layer, _without(base, drop))
                for base in self._bases(layer)
                for drop in drops
            ]
            for layer, drops in zip((one, other), dropped, strict=True)
        ]
        for left, right in itertools.product(*plain):
            yield both(left, right)
        for gone in itertools.product(*dropped):
            yield from self._narrowed(one, other, gone)

    def _narrowed(
        self, one: Layer, other: Layer, gone: tuple[_Mask | None, ...]
    ) -> Iterable[Candidate]:
        weights = [layer.weight for layer in (one, other)]
        sampled = [self._rows(layer) for layer in (one, other)]
        grams = [
            gram(weight, None if drop is None else torch.from_numpy(~drop).to(weight.device))
            for weight, drop in zip(weights, gone, strict=True)
        ]
        for rank in _ranks(min(size for weight in weights for size in weight.shape)):
            maps = [A.float() for A in joint_maps(grams, [[1], [0]], rank)]
            rows = [_at(w, r).float() for w, r in zip(weights, sampled, strict=True)]
            narrow = [w @ A for w, A in zip(rows, maps, strict=True)]
            for first, second in _PAIRS:
                # what the left table loses with the width is told once, beside its rounding
                left = stored_as(narrow[0], first) @ maps[1].T - rows[0]
                right = (stored_as(narrow[1], second) - narrow[1]) @ maps[0].T
                changes: dict[str, tuple[LayerRecipe, Tensor]] = {}
                halves: list[
                    tuple[Layer, Layer, Quantization, Tensor, NDArray[np.bool_] | None]
                ] = [
                    (one, other, first, left, gone[0]),
                    (other, one, second, right, gone[1]),
                ]
                for layer, partner, quantization, change, drop in halves:
                    entry = LayerRecipe(
                        quantization=quantization,
                        factor=Factor(rank=rank, partners=[partner.name]),
                    )
                    entry = _without(entry, drop)
                    changes[layer.name] = (entry, change)
                yield self._candidate(changes, (one, other))

    def _bases(self, layer: Layer) -> list[LayerRecipe]:
        """Storage of the full width: plain, and in tiers."""
        plain = [LayerRecipe(quantization=quantization) for quantization in self._formats()]
        return plain + list(tiered(layer.name, self._sensitivity, self._formats()))

    def _formats(self) -> tuple[Quantization, ...]:
        return ("FP16", "INT8", "INT4", "INT2") if self._measures else ("FP16", "INT8", "INT4")

    def _storage(self, layer: Layer, entry: LayerRecipe) -> Candidate:
        weight, rows = layer.weight, self._rows(layer)
        held = _at(weight, rows)
        quantization = entry.quantization
        if quantization == "FP16" and float(weight.abs().max()) > torch.finfo(torch.float16).max:
            quantization = "BF16"
            entry = _replace(entry, quantization=quantization)
        read = stored_as(held, quantization)
        for tier in entry.tiers:
            mask = _mask(tier.rows, len(weight), rows).to(weight.device)
            read[mask] = stored_as(held[mask], tier.quantization)
        return self._candidate({layer.name: (entry, read - held.float())}, (layer,))

    def _candidate(
        self, changes: Mapping[str, tuple[LayerRecipe, Tensor]], layers: Sequence[Layer]
    ) -> Candidate:
        size, entries = 0, dict[str, LayerRecipe]()
        damage = disturbance = 0.0
        for layer in layers:
            entry, change = changes[layer.name]
            rows, columns = layer.weight.shape
            if entry.dropped is not None:
                change = self._emptied(layer, entry.dropped, change)
            after = bytes_stored(entry, rows, columns, layer.bias)
            size += after
            rise = self._rises(layer, change)
            damage += rise.whole
            disturbance += max(0.0, rise.even)
            made = _replace(
                entry,
                prune_ratio=_pruned(entry, len(layer.weight)),
                shape=list(layer.weight.shape),
                bytes_before=layer.bytes_before,
                bytes_after=after,
                predicted_damage=rise.whole,
            )
            entries |= dict.fromkeys((layer.name, *layer.aliases), made)
        return Candidate(entries, size, damage, disturbance)

    def _rises(self, layer: Layer, change: Tensor) -> Rise:
        rows = self._rows(layer)
        if self._rise is not None and rows is None:
            return self._rise.along([(layer.name, change)])
        damage = self._sensitivity.damage(layer.name, layer.weight, change, rows)
        return Rise(0.0, damage)

    def _emptied(self, layer: Layer, dropped: RowSet, change: Tensor) -> Tensor:
        """The change with dropped rows read as zero: a table that is scored is read without
        look-ups, which a loss and its gradients know, and counts do not.
        """
        sampled = self._rows(layer)
        gone = _mask(dropped, len(layer.weight), sampled).to(layer.weight.device)
        emptied = -_at(layer.weight, sampled).to(change)
        return torch.where(gone[:, None], emptied, change)

    def _rows(self, layer: Layer) -> Tensor | None:
        """A sample of a large table's rows, drawn by what the loss minds of them."""
        name = layer.name
        weights = self._sensitivity.look_ups.get(name)
        fisher = self._sensitivity.fisher.get(name)
        minded = fisher.cpu().numpy() if fisher is not None else weights
        found = sample_rows(minded, len(layer.weight), SAMPLED_ROWS)
        return None if found is None else found.to(layer.weight.device)

    def _droppable(self, layer: Layer) -> list[_Mask | None]:
        """Rows to drop: none, and those never looked up, where that saves more than the map of the
        others costs.
        """
        look_ups = self._sensitivity.look_ups.get(layer.name)
        if look_ups is None or not look_ups.sum() > 0:
            return [None]
        dropped = look_ups == 0
        worth = dropped.sum() * layer.weight.shape[1] / 2 > len(dropped) / 8
        return [None, dropped] if worth else [None]


def _ranks(width: int) -> list[int]:
    """Even widths, as two 4-bit numbers share a byte."""
    found = {max(2, 2 * round(share * width / 2)) for share in _RANKS}
    return sorted((rank for rank in found if rank <= width), reverse=True) or [width]


def _without(entry: LayerRecipe, dropped: _Mask | None) -> LayerRecipe:
    return entry if dropped is None else _replace(entry, dropped=pack_rows(dropped))


def _pruned(entry: LayerRecipe, rows: int) -> float:
    if entry.kept_units is not None:
        return 1 - entry.kept_units.count / rows
    return entry.dropped.count / rows if entry.dropped is not None and rows else 0.0


def _at(weight: Tensor, rows: Tensor | None) -> Tensor:
    return weight if rows is None else weight[rows]


def _mask(rows: RowSet, of: int, sampled: Tensor | None) -> Tensor:
    mask = torch.from_numpy(unpack_rows(rows, of).copy())
    return mask if sampled is None else mask[sampled.cpu()]
