"""The examples are scripts, not a package: put their folder where a script would find it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with an empty cache, no data set named, and no network; returns the cache folder."""
    monkeypatch.delenv("GRADTRACER_DATA", raising=False)
    monkeypatch.setenv("GRADTRACER_OFFLINE", "1")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    import movielens

    return movielens.cache_folder()
