"""How long a test waits for something that is to come, before it calls it missing."""

from __future__ import annotations

PATIENCE = 600.0
"""Seconds. On a machine that has twenty times as much to do as it can, imports of torch in three
processes take two minutes. Who waits goes on as soon as there is something, so that this is only
what a failure costs; no test passes or fails by how long anything took. Below the `timeout` of
`pyproject.toml`, so that the test itself says what was missing."""
