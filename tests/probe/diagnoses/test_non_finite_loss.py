"""A loss that is told and is no number: raised as the training's, unless a gradient says it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.flow import FlowTracker
from gradtracer.analyzers.training import TrainingTracker
from gradtracer.diagnoses.finding import Finding
from gradtracer.learning_curve import Told
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer_schemas import Diagnosis, SourceSite, decode_event

BAD = 7


class Scorer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(30, 8), nn.Linear(8, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(ids)).square().mean()


def trained(folder: Path, *, told: Any, trains: bool, layers: bool = True) -> list[Finding]:
    """What the training says after 20 steps, of which one told `told`, and `trains` on it."""
    settings = Settings(publish=False, report_seconds=3600)
    with Run(root=folder, settings=settings) as run:
        torch.manual_seed(0)
        model = Scorer()
        EmbeddingTracker(model.table, "embedding", run=run)
        if layers:
            FlowTracker(model, run=run)
        tracker = TrainingTracker(run, SourceSite())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(20):
            optimizer.zero_grad()
            loss = model(torch.arange(16))
            (loss * float("nan") if trains and step == BAD else loss).backward()
            run.log(loss=told if step == BAD else loss)
            optimizer.step()
        run.flush()
        for each in run.trackers:
            if isinstance(each, EmbeddingTracker | FlowTracker):
                each.figures()
        return tracker.findings(tracker.figures())


@pytest.mark.parametrize("told", [float("nan"), float("inf"), torch.tensor(float("nan"))])
def test_a_loss_that_is_no_number_beside_sound_gradients_is_the_trainings(
    tmp_path: Path, told: object
) -> None:
    found = trained(tmp_path, told=told, trains=False)
    (finding,) = [each for each in found if each.type == "NON_FINITE"]
    assert finding.premise.startswith("In 1 of the 20 values of the loss that were told")
    assert "for the first time after 7 steps" in finding.premise
    (evidence,) = finding.evidence
    assert (evidence.statistic, evidence.value, evidence.n) == ("loss_nonfinite", 1, 20)
    assert evidence.interval is not None
    assert 0 < evidence.interval[0] < 1 < evidence.interval[1] < 20
    assert finding.confidence == 1.0


def test_it_reaches_the_journal(tmp_path: Path) -> None:
    trained(tmp_path, told=float("nan"), trains=False)
    (journal,) = tmp_path.rglob("events.jsonl")
    bodies = [decode_event(line).body for line in journal.read_bytes().splitlines()]
    raised = [b for b in bodies if isinstance(b, Diagnosis) and b.type == "NON_FINITE"]
    assert {(each.layer, each.severity) for each in raised} == {("training", "error")}


@pytest.mark.parametrize("layers", [True, False])
def test_where_gradients_broke_with_it_they_speak_alone(tmp_path: Path, layers: bool) -> None:
    found = trained(tmp_path, told=float("nan"), trains=True, layers=layers)
    assert "NON_FINITE" not in {each.type for each in found}
    journal = next(tmp_path.rglob("events.jsonl")).read_bytes()
    bodies = [decode_event(line).body for line in journal.splitlines()]
    raised = {b.layer for b in bodies if isinstance(b, Diagnosis) and b.type == "NON_FINITE"}
    assert raised == ({"head"} if layers else {"embedding"})


@pytest.mark.parametrize("told", [torch.ones(2), "soon", 3])
def test_what_is_no_single_number_or_a_whole_one_says_nothing(tmp_path: Path, told: object) -> None:
    found = trained(tmp_path, told=told, trains=False)
    assert "NON_FINITE" not in {each.type for each in found}


def test_values_that_are_left_out_of_a_curve_are_counted() -> None:
    series = Told()
    for step, value in enumerate([1.0, float("nan"), "no number", 3.0, float("-inf")]):
        series.add(step, value)
    curve, bad = series.curve("loss"), series.not_numbers()
    assert curve is not None
    assert curve.values.tolist() == [1.0, 3.0]
    assert bad is not None
    assert (bad.times, bad.of, bad.step) == (2, 4, 1)
    assert Told().not_numbers() is None
