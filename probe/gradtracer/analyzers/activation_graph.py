"""Which saturating activation a tensor came from, and which layer fed it, as the graph tells.

Reads names of the graph's nodes and no saved tensor: under activation checkpointing that would run
the forward pass again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

_SATURATING = {
    "TanhBackward0": "Tanh",
    "SigmoidBackward0": "Sigmoid",
    "HardtanhBackward0": "Hardtanh",
    "HardsigmoidBackward0": "Hardsigmoid",
}
_SAME_ENTRIES = frozenset(
    f"{name}Backward{number}"
    for name in (
        "Alias",
        "Clone",
        "Permute",
        "ReshapeAlias",
        "Squeeze",
        "ToCopy",
        "Transpose",
        "Unsqueeze",
        "UnsafeView",
        "View",
    )
    for number in (0, 1)
)
_MOST_VIEWS = 6
_MOST_NODES = 12
_UNIT = (0.0, 1.0)


class Origin(NamedTuple):
    """Where a tensor's entries came from."""

    activation: str
    """Class name of the activation in `torch.nn`."""
    limits: tuple[float, float]
    """Between which its output moves."""
    layer: int
    """Index of the layer that fed it."""


def origin_of(entries: torch.Tensor, owner: Mapping[int, int]) -> Origin | None:
    """The activation that put out `entries`, and the nearest layer before it.

    `owner` has the index of a layer by the id of its weight. None where another operation lies
    between, where no layer is near, or where the graph is a compiled one. ReLU6 has the graph of a
    Hardtanh; below zero it is a rectifier, so it is none here.
    """
    node: Any = entries.grad_fn
    for _ in range(_MOST_VIEWS):
        if node is None:
            return None
        activation = _SATURATING.get(node.name())
        if activation is not None:
            limits = _UNIT if activation.lower().endswith("sigmoid") else (-1.0, 1.0)
            if activation == "Hardtanh":
                limits = float(node._saved_min_val), float(node._saved_max_val)
                if limits[0] == 0:
                    return None
            layer = _producer(node, owner)
            return None if layer is None else Origin(activation, limits, layer)
        if node.name() not in _SAME_ENTRIES:
            return None
        node = node.next_functions[0][0]
    return None


def _producer(node: Any, owner: Mapping[int, int]) -> int | None:
    """The nearest layer whose weight or bias goes into what `node` was given."""
    pending = [node]
    for _ in range(_MOST_NODES):
        if not pending:
            return None
        for before, _ in pending.pop(0).next_functions:
            if before is None:
                continue
            weight = getattr(before, "variable", None)
            if weight is not None and id(weight) in owner:
                return owner[id(weight)]
            pending.append(before)
    return None
