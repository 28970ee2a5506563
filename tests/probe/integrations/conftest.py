"""Training scripts that run in a process of their own, and what an observation of them holds."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from gradtracer_schemas import Envelope, LayerWatchedEvent, ObservationEvent
from patience import PATIENCE

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start Python with these words in a folder of its own; other files are written there first."""

    def start(*words: str, files: dict[str, str] | None = None) -> subprocess.Popen[str]:
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
        environment = {name: os.environ[name] for name in os.environ if name[:11] != "GRADTRACER_"}
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**environment, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def launch(start: Callable[..., subprocess.Popen[str]]) -> Launch:
    """The same, to the end."""

    def launch(
        *words: str, files: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        process = start(*words, files=files)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return launch


@pytest.fixture
def seen() -> Callable[[list[Envelope]], dict[str, tuple[float, float, list[str]]]]:
    """By layer: look-ups, steps, and the statements of its site from the layer outwards."""

    def seen(events: list[Envelope]) -> dict[str, tuple[float, float, list[str]]]:
        sites = {
            event.body.layer: [frame.text for frame in event.body.site.frames]
            for event in events
            if isinstance(event, LayerWatchedEvent)
        }
        last = {
            event.body.layer: event.body.values
            for event in events
            if isinstance(event, ObservationEvent)
        }
        return {
            layer: (values["exposures"], values["steps"], sites[layer])
            for layer, values in last.items()
            if "exposures" in values
        }

    return seen
