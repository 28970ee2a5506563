"""What `.gradtracer/audit.jsonl` says: what auto-fix did in which run to which table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gradtracer_schemas import AuditLine, MeasuredEffect
from gradtracer_server.discovery import HOME, searched

_log = logging.getLogger(__name__)

_LONGEST = 64 << 20
"""Bytes of a line; a table of 10 million rows takes less."""


@dataclass(slots=True)
class Story:
    """One table in one run, from the first line to the last."""

    run: str
    layer: str
    first_step: int
    last_step: int
    lines: int = 0
    rows_changed: int = 0
    """Factors set, over all lines."""
    action: str = ""
    treated_rows: int = 0
    held_out_rows: int = 0
    mean_scale: float = 1.0
    """Of the rows treated at last."""
    seed: int = 0
    code_versions: list[str] = field(default_factory=list[str])
    reason: str = ""
    effects: list[MeasuredEffect] = field(default_factory=list[MeasuredEffect])

    def add(self, line: AuditLine) -> None:
        """Take in the next line of it."""
        self.last_step = line.step
        self.lines += 1
        self.rows_changed += line.num_affected
        self.action = line.action or line.type
        self.treated_rows, self.held_out_rows = line.treated_rows, line.held_out_rows
        self.mean_scale, self.seed = line.treated_scale, line.seed
        self.reason = line.reason or self.reason
        self.effects = line.effects or self.effects
        if line.code_version and line.code_version not in self.code_versions:
            self.code_versions.append(line.code_version)


def audit_files(folders: Sequence[Path]) -> list[Path]:
    """The audits of the projects around `folders`."""
    homes = (home / HOME / "audit.jsonl" for folder in folders for home in searched(folder))
    return [path for path in dict.fromkeys(homes) if path.is_file()]


def stories(paths: Sequence[Path]) -> list[Story]:
    """A story for each run and table, in the order of their first lines.

    Lines that are torn, too long or something else are left out, and counted in the log.
    """
    found: dict[tuple[Path, str, str], Story] = {}
    decoder = msgspec.json.Decoder(AuditLine)
    for path in paths:
        bad = 0
        for text in _lines(path):
            try:
                line = decoder.decode(text)
            except (msgspec.DecodeError, RecursionError):
                bad += 1
                continue
            key = path, line.run_id, line.layer
            story = found.setdefault(key, Story(line.run_id, line.layer, line.step, line.step))
            story.add(line)
        if bad:
            _log.warning("%s: %d lines are no audit lines", path, bad)
    return list(found.values())


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while text := file.readline(_LONGEST):
                if text.strip():
                    yield text
    except OSError as error:
        _log.warning("cannot read %s: %s", path, error)
