"""Fixtures of the fixes' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty workspace."""
    return Bench(tmp_path / "project")
