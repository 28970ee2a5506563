"""Activations by their names: as a class, as a function, and as the string of a factory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Activation:
    """One activation."""

    module: str
    """Its class in `torch.nn`."""
    function: str
    """Its function in `torch.nn.functional`; empty where it has none without parameters."""
    takes_inplace: bool
    """Whether both take `inplace`."""


ACTIVATIONS = {
    each.module: each
    for each in (
        Activation("ELU", "elu", takes_inplace=True),
        Activation("GELU", "gelu", takes_inplace=False),
        Activation("LeakyReLU", "leaky_relu", takes_inplace=True),
        Activation("PReLU", "", takes_inplace=False),
        Activation("SiLU", "silu", takes_inplace=True),
    )
}
"""What an activation that dies or saturates can be replaced by."""


@dataclass(frozen=True)
class Replaced:
    """An activation that is replaced, by its names."""

    modules: tuple[str, ...]
    """Classes in `torch.nn`."""
    functions: tuple[str, ...]
    """Functions in `torch` or `torch.nn.functional`, and methods; one that ends in `_` works in
    place."""
    string: str
    """What a factory calls it."""


REPLACED = {
    "ReLU": Replaced(("ReLU", "ReLU6"), ("relu", "relu_"), "relu"),
    **{
        name: Replaced((name,), (name.lower(), f"{name.lower()}_"), name.lower())
        for name in ("Hardsigmoid", "Hardtanh", "Sigmoid", "Tanh")
    },
}
"""What is replaced, by the name that an offer gives: those that die, and those that saturate."""

STRINGS: dict[str, tuple[int | None, str, dict[str, str]]] = {
    "DNN": (2, "activation", {"PReLU": "prelu"}),
    "MLPLayers": (2, "activation", {"LeakyReLU": "leakyrelu"}),
    "TransformerDecoderLayer": (4, "activation", {"GELU": "gelu"}),
    "TransformerEncoderLayer": (4, "activation", {"GELU": "gelu"}),
}
"""Factories that take an activation by its name: the place, the keyword, and the names they know.

`MLPLayers` is RecBole's, `DNN` is DeepCTR-Torch's.
"""
