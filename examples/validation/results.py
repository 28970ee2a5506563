"""Results in a file of JSON lines: what is there is not trained again, whoever wrote it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from validation.plans import Plan

Key = tuple[str, str, str, int]
"""Model, setting, arm, seed."""


class Results:
    """Records by model, setting, arm and seed; several processes may append to one file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "results.jsonl"
        self._records: dict[Key, dict[str, Any]] = {}
        self.read()

    def read(self) -> None:
        """Take in what the file holds. A line torn by a kill is passed over."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return
        for line in text.split(b"\n"):
            try:
                record = json.loads(line)
                key = record["model"], record["setting"], record["arm"], record["seed"]
            except (ValueError, KeyError, TypeError):
                continue
            self._records[key] = record

    def get(self, key: Key, plan: Plan, source: str) -> dict[str, Any] | None:
        """The record, unless it was trained by another plan or on other data."""
        record = self._records.get(key)
        if record is None or (record["plan"], record["source"]) != (plan.described(), source):
            return None
        return record

    def add(self, key: Key, plan: Plan, source: str, record: dict[str, Any]) -> None:
        """Keep it; one write, after the end of whatever line is there."""
        names = ("model", "setting", "arm", "seed")
        whole = {
            **dict(zip(names, key, strict=True)),
            "plan": plan.described(),
            "source": source,
            **record,
        }
        self._records[key] = whole
        line = b"\n" + json.dumps(whole, separators=(",", ":")).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._records.values())
