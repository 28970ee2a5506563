"""Figures of a table for people: the printed report, and the summary under old names."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from gradtracer.analyzers.table_figures import TableFigures, observation
from gradtracer.diagnoses.finding import Finding

_WIDTH = 88


def table_report(figures: TableFigures, findings: Sequence[Finding]) -> str:
    """Figures and findings of one table as plain text."""
    unseen, zombies = figures.unseen, figures.zombies
    lines = [
        f"GradTracer: {figures.layer}, {figures.rows:,} rows x {figures.dim}",
        f"  look-ups        {unseen.look_ups:>12,}",
        f"  rows seen       {figures.rows - unseen.unseen:>12,}  {figures.coverage:.1%}",
        f"  rows dead       {unseen.dead:>12,.0f}  of {unseen.unseen:,} not seen yet",
        f"  rows zombie     {zombies.rows.size:>12,}  of {zombies.tested:,} tested, "
        f"{zombies.unknown:,} unknown",
    ]
    if figures.gini is not None:
        lines.append(
            f"  Gini            {figures.gini.value:>12.3f}  +- {1.96 * figures.gini.error:.3f}"
        )
    if figures.rank is not None:
        lines.append(
            f"  effective rank  {figures.rank.value:>12.1f}  of {figures.dim}; independent "
            f"entries: {figures.rank.null:.1f}"
        )
    if figures.velocity is not None:
        lines.append(f"  update velocity {figures.velocity:>12.3g}  weight units a step")
    if not findings:
        lines.append("No test finds anything wrong with this table.")
    for finding in findings:
        lines.append(f"{finding.type} (confidence {finding.confidence:.2f})")
        lines.extend(
            textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
            for text in (finding.premise, finding.implies, finding.action)
        )
    return "\n".join(lines)


def summarize(figures: TableFigures) -> dict[str, Any]:
    """Figures under the original system's names, then under ours."""
    rank = figures.rank.value if figures.rank is not None else 1.0
    named = int(figures.zombies.rows.size)
    return {
        "num_embeddings": figures.spectrum.size,
        "dead_count": figures.unseen.unseen,
        "dead_pct": 100.0 * figures.unseen.unseen / max(1, figures.rows),
        "zombie_count": named,
        "zombie_pct": 100.0 * named / max(1, figures.rows),
        "coverage_pct": 100.0 * figures.coverage,
        "gini": figures.gini.value if figures.gini else 0.0,
        "effective_rank": rank,
        "rank_utilization": 100.0 * rank / max(1, min(figures.rows, figures.dim)),
        **observation(figures).values,
    }
