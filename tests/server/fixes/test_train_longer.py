from __future__ import annotations

import msgspec
import pytest
from fix_bench import Bench

from gradtracer_server.fixes.proposal import ProposedFix

MAIN = """\
import torch
from tqdm import tqdm, trange

EPOCHS = 30

def main(args, epochs=20):
    optimizer = torch.optim.Adam(p)
    {head}
        for batch in loader:
            loss(batch).backward()
            optimizer.step()

parser.add_argument("--epochs", type=int, default=20)
"""


def fix_of(bench: Bench, head: str, factor: object = 2) -> tuple[str, ProposedFix]:
    text = MAIN.format(head=head)
    path = bench.write("a.py", text)
    step = bench.frame(path, "optimizer.step()", "main")
    fix = bench.one("train-longer", related={"step": [step]}, factor=factor)
    return text, fix


@pytest.mark.parametrize(
    ("head", "before", "after"),
    [
        ("for epoch in range(20):", "range(20)", "range(40)"),
        ("for epoch in range(0, 20):", "range(0, 20)", "range(0, 40)"),
        ("for epoch in range(1, 20 + 1):", "20 + 1", "40 + 1"),
        ("for epoch in range(EPOCHS):", "EPOCHS = 30", "EPOCHS = 60"),
        ("for epoch in range(1, args.epochs + 1):", "type=int, default=20", "type=int, default=40"),
        ("for epoch in trange(20):", "trange(20)", "trange(40)"),
        ("for epoch in tqdm(range(20), desc='x'):", "range(20)", "range(40)"),
    ],
)
def test_the_number_of_the_outer_loop_is_edited_where_it_stands(
    bench: Bench, head: str, before: str, after: str
) -> None:
    text, fix = fix_of(bench, head)
    assert text.count(before) == 1
    assert bench.make(fix) == {"a.py": text.replace(before, after)}


def test_the_loop_may_stand_in_the_caller(bench: Bench) -> None:
    text = (
        "def one_epoch(loader):\n"
        "    for batch in loader:\n"
        "        optimizer.step()\n"
        "for epoch in range(8):\n"
        "    one_epoch(loader)\n"
    )
    path = bench.write("a.py", text)
    frames = [
        bench.frame(path, "optimizer.step()", "one_epoch"),
        bench.frame(path, "one_epoch(loader)"),
    ]
    fix = bench.one("train-longer", related={"step": frames}, factor=2)
    assert bench.make(fix) == {"a.py": text.replace("range(8)", "range(16)")}
    assert fix.title == "Train to 16 instead of 8: the loop on line 4"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("while going():", "no loop over a number of epochs"),
        ("for epoch in range(epochs):", "epochs is passed by a call that the run did not record"),
        (
            "for epoch in range(2 * args.epochs):",
            "the number of epochs is given as 2 * args.epochs",
        ),
        ("for epoch in range(0, 20, 2):", "no loop over a number of epochs"),
        ("for epoch in schedule:", "no loop over a number of epochs"),
    ],
)
def test_what_cannot_be_edited_is_said(bench: Bench, head: str, reason: str) -> None:
    _, fix = fix_of(bench, head)
    assert fix.disabled_reason is not None
    assert reason in fix.disabled_reason


@pytest.mark.parametrize("factor", [None, "2", True, 1, 0, -2, 1000, float("nan")])
def test_an_offer_without_a_factor_is_refused(bench: Bench, factor: object) -> None:
    _, fix = fix_of(bench, "for epoch in range(20):", factor)
    assert fix.disabled_reason is not None
    assert "expected a factor above 1" in fix.disabled_reason


LIBRARY = """\
from transformers import Trainer, TrainingArguments
args = {built}
trainer = Trainer(model, args)
trainer.train()
"""


def _in_library(bench: Bench, text: str, call: str) -> ProposedFix:
    path = bench.write("a.py", text)
    outer = bench.frame(path, call)
    inner = msgspec.structs.replace(outer, file="/usr/lib/trainer.py")
    return bench.one("train-longer", related={"step": [inner, outer]}, factor=2)


@pytest.mark.parametrize(
    ("built", "before", "after", "said"),
    [
        ("pl.Trainer(max_epochs=5)", "=5", "=10", "max_epochs"),
        ("pl.Trainer(max_epochs=5, max_steps=-1)", "=5", "=10", "max_epochs"),
        ("pl.Trainer(max_epochs=5, max_steps=700)", "=700", "=1400", "max_steps"),
    ],
)
def test_lightning_is_told_where_its_trainer_is_built(
    bench: Bench, built: str, before: str, after: str, said: str
) -> None:
    text = f"trainer = {built}\ntrainer.fit(model)\n"
    fix = _in_library(bench, text, "trainer.fit(model)")
    assert bench.make(fix) == {"a.py": text.replace(before, after)}
    assert fix.title.endswith(f": {said} on line 1")


@pytest.mark.parametrize("epochs", ["3", "3.0"])
def test_transformers_is_told_where_its_arguments_are_built(bench: Bench, epochs: str) -> None:
    text = LIBRARY.format(built=f"TrainingArguments('out', num_train_epochs={epochs})")
    fix = _in_library(bench, text, "trainer.train()")
    assert bench.make(fix) == {"a.py": text.replace(f"={epochs}", "=6")}


def test_a_library_that_was_told_nothing_is_named_with_its_setting(bench: Bench) -> None:
    text = LIBRARY.format(built="TrainingArguments('out')")
    fix = _in_library(bench, text, "trainer.train()")
    assert fix.disabled_reason is not None
    assert "sets no num_train_epochs" in fix.disabled_reason
