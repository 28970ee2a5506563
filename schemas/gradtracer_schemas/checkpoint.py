"""Compressing a checkpoint: what a process of the user's interpreter is asked, and answers.

The server and its commands import no torch. They start `python -m gradtracer.compression REQUEST`,
which writes one JSON object a line: `CheckpointLine`.
"""

from __future__ import annotations

import msgspec


class CheckpointRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to compress, and how."""

    checkpoint: str
    """File with the weights: of `torch.save(model.state_dict())`, or safetensors."""
    recipe: str
    """File of the recipe."""
    model: str
    """`module:function` that builds the model as it was trained."""
    evaluate: str = ""
    """`module:function` that takes a model and returns its quality; empty: not measured."""
    output: str = ""
    """File to write; empty: `NAME.compressed.SUFFIX` beside the checkpoint."""
    layers: list[str] = []
    """Layers of the recipe to apply; empty: all."""
    folder: str = ""
    """Where the user's modules are; empty: the current folder."""


class CheckpointResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    output: str
    """The file written."""
    bytes_before: int
    """Size of the checkpoint."""
    bytes_after: int
    """Size of what was written."""
    metric: str = ""
    """Name of the quality."""
    quality_before: float | None = None
    """Measured on the checkpoint's model; null: not measured."""
    quality_after: float | None = None
    """Measured on the compressed model."""
    seconds: float = 0.0
    """How long it took."""


class CheckpointLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the process: exactly one of the three."""

    progress: str = ""
    """What it does now."""
    result: CheckpointResult | None = None
    """It is done."""
    error: str = ""
    """Why it was not done."""
