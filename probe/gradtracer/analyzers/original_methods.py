"""What users of the original system call on a tracker of a table, with the same meanings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.analyzers.table_report import summarize, table_report
from gradtracer.diagnoses.finding import Finding


class OriginalMethods:
    """The methods, over what a tracker measures and finds."""

    def figures(self) -> TableFigures:
        """Measure everything now."""
        raise NotImplementedError

    def findings(self, figures: TableFigures | None = None) -> list[Finding]:
        """What the tests say now."""
        raise NotImplementedError

    def dead_embeddings(self) -> list[int]:
        """Rows never looked up in training; `padding_idx` is none of them."""
        return self.figures().never_seen.tolist()

    def zombie_embeddings(self, threshold: float | None = None) -> list[int]:
        """Rows named by the zombie tests, strongest first.

        `threshold` is accepted for old callers and has no use: the tests set their own level.
        """
        return self.figures().zombies.rows.tolist()

    def starvation_index(self) -> npt.NDArray[np.float32]:
        """`[N]` 0 to 1: how far a seen row's look-ups fall short of the median; 0 when unseen."""
        counts = self.figures().counts
        seen = counts > 0
        median = float(np.median(counts[seen])) if seen.any() else 1.0
        return (np.clip(1.0 - counts / median, 0.0, 1.0) * seen).astype(np.float32)

    def effective_rank(self, max_samples: int | None = None) -> float:
        """Effective rank of the rows seen; of all rows while none was seen."""
        rank = self.figures().rank
        return rank.value if rank is not None else 1.0

    def popularity_bias(self) -> dict[str, float]:
        """`gini` and `entropy` (nats) of exposure over rows seen, `coverage` of the table."""
        figures = self.figures()
        return {
            "gini": figures.gini.value if figures.gini else 0.0,
            "entropy": figures.entropy,
            "coverage": figures.coverage,
        }

    def summary(self) -> dict[str, Any]:
        """The original's keys, and the observation's values beside them."""
        return summarize(self.figures())

    def report(self) -> None:
        """Print a report to standard output."""
        figures = self.figures()
        print(table_report(figures, self.findings(figures)))  # noqa: T201
