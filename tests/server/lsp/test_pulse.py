"""Rings in quick succession are one beat, and no ring is lost."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from gradtracer_server.pulse import Pulse
from patience import PATIENCE


async def until(beats: list[float], count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(beats) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


async def test_many_rings_are_one_beat() -> None:
    beats: list[float] = []
    pulse = Pulse(lambda: beats.append(time.monotonic()), quiet=0.02)
    for _ in range(1000):
        pulse.ring()
    await until(beats, 1)
    pulse.ring()
    pulse.ring()
    await until(beats, 2)
    assert beats[1] - beats[0] >= 0.02


async def test_a_beat_that_fails_is_logged_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    beats: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        raise ValueError("broken")

    pulse = Pulse(beat, quiet=0)
    with caplog.at_level(logging.ERROR):
        pulse.ring()
        await until(beats, 1)
        pulse.ring()
        await until(beats, 2)
    assert "broken" in caplog.text


async def test_a_stopped_pulse_is_silent() -> None:
    beats: list[float] = []
    pulse = Pulse(lambda: beats.append(time.monotonic()), quiet=0)
    pulse.ring()
    pulse.stop()
    pulse.ring()
    for _ in range(20):
        await asyncio.sleep(0)
    assert beats == []


async def test_a_ring_by_hand_does_not_wait_for_the_pause_that_events_keep_up() -> None:
    beats: list[float] = []
    pulse = Pulse(lambda: beats.append(time.monotonic()), quiet=60)
    pulse.ring()
    await until(beats, 1)
    pulse.ring()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(beats) == 1, "events wait"
    pulse.ring_by_hand()
    await until(beats, 2)
    assert beats[1] - beats[0] < 60


async def test_rings_by_hand_in_quick_succession_are_one_beat() -> None:
    beats: list[float] = []
    pulse = Pulse(lambda: beats.append(time.monotonic()), quiet=0.02)
    pulse.ring_by_hand()
    await until(beats, 1)
    for _ in range(1000):
        pulse.ring_by_hand()
        pulse.ring()
    await until(beats, 2)
    assert beats[1] - beats[0] >= 0.02


async def test_an_action_that_takes_long_is_not_repeated_at_once_by_hand_either() -> None:
    beats: list[float] = []
    ends: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        while time.monotonic() < beats[-1] + 0.03:
            pass
        ends.append(time.monotonic())

    pulse = Pulse(beat, quiet=0)
    pulse.ring()
    await until(beats, 1)
    pulse.ring_by_hand()
    await until(beats, 2)
    assert beats[1] - ends[0] >= 0.03
