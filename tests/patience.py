"""How long a test waits for something that is to come, before it calls it missing."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 600.0
"""Seconds. On a machine that has twenty times as much to do as it can, imports of torch in three
processes take two minutes. Who waits goes on as soon as there is something, so that this is only
what a failure costs; no test passes or fails by how long anything took. Below the `timeout` of
`pyproject.toml`, so that the test itself says what was missing."""


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until it holds, and fail when it does not at all."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        time.sleep(0.005)
