"""A mistaken optimizer is said when it is given, and stops no training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gradtracer.callsite import call_site
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer.watching import observe


def said(tmp_path: Path, caplog: pytest.LogCaptureFixture, model: nn.Module, optimizer: Any) -> str:
    settings = Settings(report_seconds=3600, publish=False)
    run = Run(root=tmp_path, settings=settings)
    with caplog.at_level(logging.WARNING, logger="gradtracer"):
        observe(model, run, settings=settings, site=call_site(), optimizer=optimizer)
    run.finish()
    return caplog.text


def two_tables() -> nn.ModuleDict:
    return nn.ModuleDict({"user": nn.Embedding(4, 2), "item": nn.Embedding(5, 2)})


def test_one_of_another_model_is_said_also_where_there_is_no_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built_before = torch.optim.SGD(nn.Linear(3, 1).parameters(), lr=0.1)
    told = said(tmp_path, caplog, nn.Linear(3, 1), built_before)
    assert "holds no parameter of the model" in told


def test_a_table_that_it_leaves_out_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = two_tables()
    told = said(tmp_path, caplog, model, torch.optim.SGD(model["user"].parameters(), lr=0.1))
    assert "does not hold the weights of item:" in told


def test_what_is_no_optimizer_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = said(tmp_path, caplog, two_tables(), [0.1])
    assert "expected an optimizer, got list; pass e.g. watch(model, optimizer=opt" in told


@pytest.mark.parametrize("wrapped", [False, True])
def test_that_of_the_model_and_of_what_wraps_it_is_not_mentioned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrapped: bool
) -> None:
    model = two_tables()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    told = said(tmp_path, caplog, nn.DataParallel(model) if wrapped else model, optimizer)
    assert told == ""
