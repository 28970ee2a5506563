"""Fixtures of the server's tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_factory import RunFactory, RunWriter, WaitUntil

from patience import PATIENCE


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

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come to hold"
            time.sleep(0.005)

    return wait
