"""Why each layer is stored as it is, in a sentence."""

from __future__ import annotations

from gradtracer.compression.sensitivity import Source
from gradtracer_schemas import LayerRecipe

_LEFT = "Left as it is: every smaller form was worse than its bytes are worth."
_SOURCE = {
    "loss": "a rise of the loss by {:.2g} predicted along the change",
    "fisher": "a rise of the loss by {:.2g} predicted from its gradients",
    "energy": "{:.2g} of its outputs' energy lost",
}


def reason_for(entry: LayerRecipe, source: Source) -> str:
    """What is done, what it saves, and what is known of its cost."""
    if entry.bytes_after == entry.bytes_before:
        return entry.reason or _LEFT
    parts = [*_shapes(entry), *_storage(entry)]
    told = f"{'; '.join(parts)}: {entry.bytes_before or 0:,} to {entry.bytes_after or 0:,} bytes"
    if entry.predicted_damage is not None:
        told += f", {_SOURCE[source].format(entry.predicted_damage)}"
    if entry.measured_damage is not None:
        told += f", quality {-100 * entry.measured_damage:+.2f} % measured with this layer alone"
    return told[0].upper() + told[1:] + "."


def _shapes(entry: LayerRecipe) -> list[str]:
    parts: list[str] = []
    if entry.factor is not None:
        width = entry.shape[1] if len(entry.shape) > 1 else 0
        beside = f" together with {', '.join(entry.factor.partners)}"
        parts.append(
            f"{entry.factor.rank} of {width} columns{beside if entry.factor.partners else ''}"
        )
    if entry.low_rank is not None:
        parts.append(f"two layers with {entry.low_rank} columns between them")
    if entry.kept_units is not None and entry.shape:
        parts.append(f"{entry.kept_units.count} of {entry.shape[0]} units")
    if entry.kept_inputs is not None and len(entry.shape) > 1:
        parts.append(f"{entry.kept_inputs.count} of {entry.shape[1]} inputs")
    if entry.dropped is not None:
        parts.append(f"{entry.dropped.count:,} rows that were never looked up are gone")
    return parts


def _storage(entry: LayerRecipe) -> list[str]:
    parts: list[str] = []
    for tier in entry.tiers:
        share = tier.share_of_look_ups
        which = "of largest gradients"
        if share is not None:
            which = f"with {100 * share:.0f} % of the look-ups"
        parts.append(f"{tier.rows.count:,} rows {which} in {tier.quantization}")
    parts.append(f"the others in {entry.quantization}" if parts else entry.quantization)
    return parts
