"""What a FlowTracker saved of a model's layers, as a later process reads it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple


class SavedLayers(NamedTuple):
    """A state that fits the model."""

    steps: int
    losses: list[float]
    """The first, the least and the last one told; empty for none."""
    observers: list[dict[str, Any]]
    """`layers`, their names, and `observer`, its state."""


def saved_layers(state: dict[str, Any], names: Collection[str]) -> SavedLayers:
    """Read the state of a tracker whose layers are among `names`.

    Raises:
        ValueError: it is no tracker's state, or one of other layers.
    """
    try:
        observers = [dict(each) for each in state["observers"]]
        others = {name for each in observers for name in each["layers"]} - set(names)
        found = SavedLayers(int(state["steps"]), list(state["losses"]), observers)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"expected the result of a tracker's state_dict(), got a state without {error}"
        ) from None
    if others:
        raise ValueError(
            f"expected the state of layers among {', '.join(names)}; got one of "
            f"{', '.join(sorted(others))}; load it into a tracker of the model it was saved from"
        )
    return found
