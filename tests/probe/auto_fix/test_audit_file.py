"""The audit's file: one warning where it cannot be written, and nothing reaches the training."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from gradtracer.audit import AutoFixAuditLogger


def logged(audit: AutoFixAuditLogger, step: int) -> None:
    audit.log_intervention(step, "item_emb", "shrink-updates", [3, 5], [0.5, 0.25])


def test_every_intervention_is_a_line(tmp_path: Path) -> None:
    audit = AutoFixAuditLogger("run", tmp_path)
    logged(audit, 1)
    logged(audit, 2)
    lines = [json.loads(line) for line in audit.path.read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert (lines[0]["indices"], lines[0]["scales"]) == ([3, 5], [0.5, 0.25])


def test_a_file_that_cannot_be_written_costs_one_warning_and_no_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Even root cannot write below what is no folder.
    (tmp_path / ".gradtracer").write_text("not a folder", encoding="utf-8")
    audit = AutoFixAuditLogger("run", tmp_path)
    with caplog.at_level(logging.WARNING, logger="gradtracer"):
        logged(audit, 1)
        logged(audit, 2)
    (warning,) = caplog.records
    assert "the audit is kept in memory" in warning.getMessage()
    assert audit.summary() == {"total_events": 2, "affected_by_type": {"shrink-updates": 4}}
