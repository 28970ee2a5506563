"""The lines that build an optimizer and that step it come with the diagnoses."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import torch

from gradtracer.stepping import count_steps
from gradtracer.training_sites import training_sites
from gradtracer_schemas import DiagnosisRaisedEvent


class Steps:
    def __init__(self) -> None:
        self.taken = 0

    def stepped(self, source: object) -> None:
        self.taken += 1


def weights() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.zeros(2))]


def step(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def test_an_optimizer_is_placed_on_the_line_that_builds_it():
    optimizer = torch.optim.Adam(
        weights(),
        lr=0.1,
    )
    site = training_sites(optimizer).related()["optimizer"]
    assert site.frames[0].text.startswith("optimizer = torch.optim.Adam(\n")
    assert site.frames[0].expression.startswith("torch.optim.Adam(\n")
    assert site.frames[0].qualname == "test_an_optimizer_is_placed_on_the_line_that_builds_it"


def test_a_users_own_optimizer_is_placed_where_it_is_built_and_not_where_it_calls_its_base():
    class Own(torch.optim.SGD):
        def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
            super().__init__(parameters, lr=0.1)

    optimizer = Own(weights())
    assert training_sites(optimizer).related()["optimizer"].frames[0].text == (
        "optimizer = Own(weights())"
    )


def test_what_is_recorded_keeps_no_variable_of_the_caller_alive():
    def train() -> weakref.ref[torch.nn.Module]:
        model = torch.nn.Linear(2, 1)
        step(torch.optim.SGD(model.parameters(), lr=0.1))
        return weakref.ref(model)

    counter = Steps()
    count_steps(counter)
    # PyTorch's own first optimizer leaves a cycle behind.
    train()
    gc.collect()
    gc.disable()
    try:
        assert train()() is None
    finally:
        gc.enable()
    assert counter.taken == 2


def test_the_first_step_is_kept_and_no_later_one():
    steps = Steps()
    count_steps(steps)
    optimizer = torch.optim.SGD(weights(), lr=0.1)
    assert "step" not in training_sites(optimizer).related()
    step(optimizer)
    site = training_sites(optimizer).related()["step"]
    optimizer.step()
    assert training_sites(optimizer).related()["step"] == site
    assert [frame.text for frame in site.frames[:2]] == ["optimizer.step()", "step(optimizer)"]
    assert steps.taken == 2


def test_a_step_through_a_gradient_scaler_is_the_users_own_line():
    steps = Steps()
    count_steps(steps)
    scaler = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD(weights(), lr=0.1)
    scaler.scale(optimizer.param_groups[0]["params"][0].sum()).backward()
    scaler.step(optimizer)
    assert training_sites(optimizer).related()["step"].frames[0].text == "scaler.step(optimizer)"
    assert steps.taken == 1


def test_an_optimizer_that_cannot_be_built_fails_as_it_would_without_us():
    try:
        torch.optim.SGD([], lr=0.1)
    except ValueError as error:
        assert str(error) == "optimizer got an empty parameter list"
    else:
        raise AssertionError("an optimizer without parameters was built")


def test_importing_after_torch_or_before_it_records_the_same(tmp_path: Path):
    for imports in ("import gradtracer, torch", "import torch, gradtracer"):
        script = tmp_path / "late.py"
        script.write_text(
            textwrap.dedent(f"""
            {imports}
            from gradtracer.training_sites import training_sites
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
            print(training_sites(optimizer).related()["optimizer"].frames[0].start_line)
            """),
            encoding="utf-8",
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)], capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == ("4\n", "")


def test_a_construction_that_cannot_be_recorded_does_not_stop_it(monkeypatch):
    def fail(built: object = None) -> None:
        raise RuntimeError("no frames here")

    monkeypatch.setattr("gradtracer.training_sites.calling_places", fail)
    steps = Steps()
    count_steps(steps)
    optimizer = torch.optim.SGD(weights(), lr=0.1)
    step(optimizer)
    assert training_sites(optimizer).related() == {}
    assert steps.taken == 1


def test_a_finding_about_the_training_names_the_line_of_the_model_that_is_gone_since(script):
    done = script.run(
        """
        def fit():
            table = Net()
            own = torch.optim.SGD(table.parameters(), lr=0.01)
            run = gradtracer.watch(torch.compile(table, backend="eager"), optimizer=own)
            train(table, own, 2)
            run.log(loss=float("nan"))
        fit()
        """
    )
    assert done.returncode == 0, done.stderr
    raised = [e.body for e in script.events() if isinstance(e, DiagnosisRaisedEvent)]
    broken = next(each for each in raised if each.layer == "training")
    assert [frame.text for frame in broken.related["model"].frames] == ["table = Net()", "fit()"]


def test_a_diagnosis_names_both_lines_though_the_optimizer_is_gone(script):
    done = script.run(
        """
        def fit():
            table = Net(rows=400)
            own = torch.optim.Adam(table.parameters(), lr=0.01)
            gradtracer.watch(table)
            train(table, own, 40, rows=40)
        fit()
        """
    )
    assert done.returncode == 0, done.stderr
    raised = [e.body for e in script.events() if isinstance(e, DiagnosisRaisedEvent)]
    dead = next(each for each in raised if each.type == "DEAD_EMBEDDINGS")
    assert sorted(dead.related) == ["optimizer", "step", "watch"]
    built, stepped = dead.related["optimizer"].frames, dead.related["step"].frames
    assert built[0].text == "own = torch.optim.Adam(table.parameters(), lr=0.01)"
    assert [frame.qualname for frame in stepped] == ["train", "fit", "<module>"]
    assert stepped[0].text == "optimizer.step()"
