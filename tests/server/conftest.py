"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from run_factory import RunFactory, RunWriter, WaitUntil

import patience


@pytest.fixture
def project(tmp_path: Path) -> RunFactory:
    """A project with a training script of two embedding tables and no runs yet."""
    return RunFactory(tmp_path / "project")


@pytest.fixture
def live_run(project: RunFactory) -> Iterator[RunWriter]:
    """A run of this process with its layers watched and its socket open."""
    run = project.start()
    run.watch_layers()
    run.open_socket()
    yield run
    run.close_socket()


@pytest.fixture
def wait_until() -> WaitUntil:
    """Waits until a condition holds, and fails when it does not at all."""
    return patience.wait_until
