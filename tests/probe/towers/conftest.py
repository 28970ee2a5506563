"""A run for tests of towers; one thread, as these tensors are too small to share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gradtracer.run import Run
from gradtracer.settings import Settings


@pytest.fixture(autouse=True, scope="package")
def single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(root=tmp_path, settings=Settings(report_seconds=3600, publish=False))
    yield run
    run.finish()
    assert "probe_fault" not in next(tmp_path.rglob("events.jsonl")).read_text()
