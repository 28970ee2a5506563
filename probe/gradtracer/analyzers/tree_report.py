"""Figures of an ensemble for people: the printed report."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.finding import Finding

_WIDTH = 88


def tree_report(figures: TreeFigures, findings: Sequence[Finding]) -> str:
    """Figures and findings of one ensemble as plain text."""
    lines = [
        f"GradTracer: {figures.layer}, {figures.trees:,} trees in {figures.rounds:,} rounds",
        f"  leaves          {figures.leaves:>12,}  at most {figures.deepest} splits deep",
    ]
    if figures.velocity.size:
        peak = float(figures.velocity.max())
        last = float(figures.velocity[-1]) / peak if peak > 0 else 0.0
        lines.append(
            f"  leaf velocity   {figures.velocity[-1]:>12.3g}  margin units a round, "
            f"{last:.1%} of the largest"
        )
    if figures.growth is not None and figures.growth.rate < 0:
        half = math.log(2) / -figures.growth.rate
        lines.append(f"  half-life       {half:>12,.0f}  rounds, over the later half")
    if figures.shares is not None:
        lines.append(
            f"  top feature     {figures.shares.share[figures.shares.top]:>12.1%}  of the gain: "
            f"{figures.top_name}"
        )
        lines.append(
            f"  features        {math.exp(figures.shares.entropy):>12.1f}  in effective use of "
            f"{len(figures.names):,}"
        )
    if figures.validation is not None and figures.validation.values.size:
        curve = figures.validation
        lines.append(f"  {curve.metric[:15]:<15} {curve.values[-1]:>12.4g}  on {curve.data}")
    if not findings:
        lines.append("No test finds anything wrong with these trees.")
    for finding in findings:
        lines.append(f"{finding.type} (confidence {finding.confidence:.2f})")
        lines.extend(
            textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
            for text in (finding.premise, finding.implies, finding.action)
        )
    return "\n".join(lines)
