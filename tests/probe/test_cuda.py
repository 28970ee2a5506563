"""Where a GPU is at hand: observation never makes the host wait for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.run import Run
from gradtracer.settings import Settings

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device: none is visible here"
)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("interval", [1, 10])
def test_no_step_synchronises_and_counts_are_exact(
    tmp_path: Path, sparse: bool, interval: int
) -> None:
    with Run(root=tmp_path, settings=Settings(report_seconds=3600, publish=False)) as run:
        table = nn.Embedding(5_000, 32, sparse=sparse, device="cuda")
        tracker = EmbeddingTracker(table, track_interval=interval, run=run)
        batches = [torch.randint(5_000, (256,), device="cuda") for _ in range(40)]
        # Plain SGD by hand: an optimizer's own synchronisations would be laid at our door.
        torch.cuda.set_sync_debug_mode("error")
        try:
            for ids in batches:
                table(ids).square().sum().backward()
                tracker._observer.before_step(table.weight, table.weight.grad)
                tracker._observer.after_step(table.weight)
                table.weight.grad = None
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert tracker._active
        truth = torch.bincount(torch.cat(batches), minlength=5_000)
        assert tracker.figures().counts.tolist() == truth.tolist()
        assert int((tracker._observer.noise.exposures > 1).sum()) > 0
