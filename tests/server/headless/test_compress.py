"""`gradtracer compress`: a real checkpoint, by a process of its own, and every way it may fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_factory import RunFactory
from trained_model import RECIPE, leave_trained_model

from gradtracer_server.headless.desk import Desk

from .conftest import Command

MODEL = ("--recipe", "r.json", "--model", "mf:build")


@pytest.fixture
def folder(project: RunFactory) -> Path:
    leave_trained_model(project.root)
    return project.root


def test_a_checkpoint_becomes_smaller_and_is_measured(folder: Path, command: Command) -> None:
    answer = command("compress", "model.pt", *MODEL, "--evaluate", "mf:norm")
    assert answer.status == 0, answer.err
    assert answer.out.startswith("model.compressed.pt: 0.32 MB -> ")
    assert "norm 218" in answer.out or "norm 219" in answer.out
    for step in ("reading model.pt", "measuring it as it is", "compressing", "writing"):
        assert f"gradtracer: {step}" in answer.err
    before, after = (folder / name for name in ("model.pt", "model.compressed.pt"))
    assert after.stat().st_size < before.stat().st_size / 3


def test_json_has_the_result_alone(folder: Path, command: Command) -> None:
    arguments = ("both.pt", "--recipe", "r.json", "--model", "mf:build_aloud", "-o", "small.pt")
    answer = command("compress", *arguments, "--output-format", "json")
    (result,) = json.loads(answer.out)
    assert result["output"] == "small.pt"
    assert result["bytes_after"] == (folder / "small.pt").stat().st_size
    assert (result["quality_before"], result["quality_after"]) == (None, None)


def test_one_layer_of_a_recipe_can_be_applied_alone(folder: Path, command: Command) -> None:
    sizes: list[int] = []
    for layers in ((), ("--layer", "user"), ("--layer", "item")):
        assert command("compress", "model.pt", *MODEL, *layers).status == 0
        sizes.append((folder / "model.compressed.pt").stat().st_size)
    both, user, item = sizes
    assert both < item < user


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no.pt", *MODEL), "expected a checkpoint, found no file 'no.pt'"),
        (("empty.pt", *MODEL), "expected the weights of a model"),
        (("mf.py", *MODEL), "weights_only=True"),
        (
            ("model.pt", "--recipe", "no.json", "--model", "mf:build"),
            "expected a recipe, found no file 'no.json'",
        ),
        (("model.pt", "--recipe", "r.json", "--model", "mf:other"), "does not fit what mf:other"),
        (("model.pt", "--recipe", "r.json", "--model", "mf:nobody"), "expected module:function"),
        (("model.pt", "--recipe", "r.json", "--model", "build"), "expected module:function"),
        (("model.pt", *MODEL, "--evaluate", "mf:nothing"), "expected finite values"),
        (("model.pt", *MODEL, "--evaluate", "mf:abort"), "going down"),
        (("model.pt", *MODEL, "--layer", "head"), "expected layers of the recipe (user, item)"),
        (("model.pt", *MODEL, "--output", "no/such/x.pt"), "no/such/x.pt"),
        (("model.pt", *MODEL, "--python", "no-python"), "no-python cannot be started"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    folder: Path, command: Command, arguments: tuple[str, ...], said: str
) -> None:
    answer = command("compress", *arguments)
    assert answer.status == 2
    assert said in answer.err
    assert answer.out == ""
    assert not list(folder.glob("*compressed*"))


def test_a_recipe_of_another_model_names_what_differs(folder: Path, command: Command) -> None:
    other = {**RECIPE, "layers": {"movie": {"quantization": "INT8"}}}
    (folder / "r.json").write_text(json.dumps(other), encoding="utf-8")
    answer = command("compress", "model.pt", *MODEL)
    assert answer.status == 2
    assert "movie" in answer.err


def test_an_old_output_stays_where_the_new_one_is_not_finished(
    folder: Path, command: Command
) -> None:
    old = folder / "model.compressed.pt"
    old.write_bytes(b"old")
    assert command("compress", "model.pt", *MODEL, "--evaluate", "mf:nothing").status == 2
    assert old.read_bytes() == b"old"


def test_an_agent_is_told_what_would_run_before_it_does(folder: Path) -> None:
    from gradtracer_schemas import CheckpointRequest

    desk = Desk([folder])
    request = CheckpointRequest(checkpoint="model.pt", recipe="r.json", model="mf:build")
    told = desk.compress(request, confirm=False)
    assert told == {"would_run": ["mf:build"], "in": str(folder), "dry_run": True}
    assert not (folder / "model.compressed.pt").exists()
    answer = desk.compress(request, confirm=True)
    assert answer["bytes_after"] == (folder / "model.compressed.pt").stat().st_size
