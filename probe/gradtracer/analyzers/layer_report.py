"""Figures of layers for people: the printed report."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from gradtracer.analyzers.layer_figures import LayerFigures, observation
from gradtracer.diagnoses.finding import Finding

_WIDTH = 88
_COLUMNS = ("grad_norm", "update_ratio", "gradient_snr", "dead_units")


def layers_report(
    figures: Sequence[LayerFigures], findings: Mapping[str, Sequence[Finding]], top_k: int
) -> str:
    """A table of all layers, then at most `top_k` findings, the most certain first."""
    width = max([len(each.layer) for each in figures], default=5)
    heads = "".join(f"{name:>14}" for name in _COLUMNS)
    lines = [f"GradTracer: {len(figures)} layers", f"  {'layer':<{width}}{heads}"]
    for each in figures:
        values = observation(each).values
        cells = "".join(
            f"{values[name]:>14.3g}" if name in values else f"{'-':>14}" for name in _COLUMNS
        )
        lines.append(f"  {each.layer:<{width}}{cells}")
    named = [(layer, finding) for layer, found in findings.items() for finding in found]
    named.sort(key=lambda pair: -pair[1].confidence)
    if not named:
        lines.append("No test finds anything wrong with these layers.")
    for layer, finding in named[:top_k]:
        lines.append(f"{finding.type} in {layer} (confidence {finding.confidence:.2f})")
        lines.extend(
            textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
            for text in (finding.premise, finding.implies, finding.action)
        )
    if len(named) > top_k:
        lines.append(f"{len(named) - top_k} more.")
    return "\n".join(lines)
