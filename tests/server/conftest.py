"""Fixtures of the server's tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_factory import RunFactory, RunWriter, WaitUntil


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
    """Waits until a condition holds, and fails when it does not within 20 seconds."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come to hold in 20 s"
            time.sleep(0.005)

    return wait
