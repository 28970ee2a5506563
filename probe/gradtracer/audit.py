"""Audit of every intervention: `.gradtracer/audit.jsonl`, one JSON object a line."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gradtracer.project import FOLDER, main_script, project_root
from gradtracer_schemas import AuditLine, Controlled

_log = logging.getLogger("gradtracer")


class AutoFixAuditLogger:
    """Writes what auto-fix did, so that a run can be explained and repeated."""

    def __init__(self, run_id: str = "default_run", root: Path | None = None) -> None:
        self.run_id = run_id
        self.path = (root or project_root(main_script())) / FOLDER / "audit.jsonl"
        self.interventions: list[dict[str, Any]] = []
        self._writable = True
        self._waiting: deque[bytes] = deque()
        self._flushing = threading.Lock()

    def log_intervention(
        self,
        step: int,
        layer_name: str,
        intervention_type: str,
        indices: Sequence[int],
        scale: float | Sequence[float],
        **more: Any,
    ) -> None:
        """Record one intervention on `indices`; nothing when there are none.

        `scale` is one factor for all rows or one for each. Keyword arguments are written as given.
        A file that cannot be written costs one warning; the record stays in `interventions`.
        """
        if not indices:
            return
        scales = [float(scale)] if isinstance(scale, int | float) else [float(s) for s in scale]
        event: dict[str, Any] = {
            "timestamp": datetime.now(UTC).isoformat(),
            "run_id": self.run_id,
            "step": step,
            "layer": layer_name,
            "type": intervention_type,
            "num_affected": len(indices),
            "scale_applied": sum(scales) / len(scales),
            "indices_sample": list(indices[:10]),
            "indices": list(indices),
            "scales": scales,
            **more,
        }
        self.interventions.append(event)
        self._waiting.append(msgspec.json.encode(event))
        self.flush()

    def log_control(self, step: int, change: Controlled) -> None:
        """Record that a setting was changed from outside while the run went on."""
        event = {
            "timestamp": datetime.now(UTC).isoformat(),
            "run_id": self.run_id,
            "step": step,
            "type": "control",
            **msgspec.to_builtins(change),
        }
        self._waiting.append(msgspec.json.encode(event))
        self.flush()

    def note(self, line: AuditLine) -> None:
        """Keep a line of our own for `flush`: nothing is written in the training's thread."""
        self.interventions.append(
            {
                "step": line.step,
                "layer": line.layer,
                "type": line.type,
                "action": line.action,
                "num_affected": line.num_affected,
                "reason": line.reason,
            }
        )
        self._waiting.append(msgspec.json.encode(line))

    def flush(self) -> None:
        """Write what waits. A file that cannot be written costs one warning, and no exception."""
        with self._flushing:
            lines: list[bytes] = []
            while self._waiting:
                lines.append(self._waiting.popleft() + b"\n")
            if not lines or not self._writable:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # In one write, so that lines of runs side by side do not mix.
                with self.path.open("ab", buffering=0) as file:
                    file.write(b"".join(lines))
            except OSError as error:
                self._writable = False
                _log.warning("cannot write %s (%s): the audit is kept in memory", self.path, error)

    def summary(self) -> dict[str, Any]:
        """`total_events`, and rows affected by type."""
        affected: Counter[str] = Counter()
        for event in self.interventions:
            affected[event["type"]] += event["num_affected"]
        return {"total_events": len(self.interventions), "affected_by_type": dict(affected)}
