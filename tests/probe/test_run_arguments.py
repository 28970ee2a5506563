"""What a run says of arguments that make no sense, and of itself."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

import gradtracer
from gradtracer.exceptions import UsageError
from gradtracer.run import Run
from gradtracer.settings import Settings


@pytest.mark.parametrize("steps", [0, -3])
def test_steps_planned_below_one_are_refused_before_anything_is_watched(steps: int) -> None:
    with pytest.raises(UsageError, match=f"total_steps of 1 or more, got {steps}; pass e.g."):
        gradtracer.watch(nn.Linear(2, 2), total_steps=steps)


def test_a_loss_that_is_no_number_is_said_once_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "gradtracer"), Run(root=tmp_path) as run:
        run.log("x")
        run.log("y", val_auc={})
        assert (run.loss, run.metrics, run.told) == (None, {}, {})
        run.log(torch.ones(3), val_auc=0.7)
        assert run.metrics == {"val_auc": 0.7}
        assert float(run.loss) == 1.0
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(",")[0] for text in said] == [
        "expected loss as a number or a tensor",
        "expected val_auc as a number or a tensor",
    ]
    assert "got 'x'" in said[0]


def test_a_run_shows_its_state_and_step(tmp_path: Path) -> None:
    with Run(root=tmp_path, settings=Settings(publish=False)) as run:
        assert repr(run) == f"<Run {run.id}: running, step 0, 0 trackers>"
    assert repr(run) == f"<Run {run.id}: finished, step 0, 0 trackers>"


def test_a_folder_may_be_given_as_text(tmp_path: Path) -> None:
    with Run(root=str(tmp_path), settings=Settings(publish=False)) as run:
        assert run.root == tmp_path
