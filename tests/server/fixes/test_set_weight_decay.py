from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer, SourceFrame
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MAIN = """\
{imports}

DECAY = 0.01

def main(args):
    model = Model()
    optimizer = {optimizer}
    train(model, optimizer)

parser.add_argument("--weight-decay", type=float, default=0.0)
"""


def fix_of(
    bench: Bench, optimizer: str, *, imports: str = "import torch", to: object = 0.2
) -> tuple[str, ProposedFix]:
    text = MAIN.format(optimizer=optimizer, imports=imports)
    path = bench.write("a.py", text)
    built = bench.frame(path, optimizer, "main")
    fix = bench.one(
        "set-weight-decay",
        related={"optimizer": [built]},
        weight_decay=to,
        measured_decay=0.01 if "DECAY" in optimizer else 0.0,
        optimizer="AdamW",
    )
    return text, fix


@pytest.mark.parametrize(
    ("optimizer", "after"),
    [
        ("torch.optim.Adam(p)", "torch.optim.AdamW(p, weight_decay=0.2)"),
        ("optim.Adam(p)", "optim.AdamW(p, weight_decay=0.2)"),
        ("torch.optim.Adam(p, lr=1e-2)", "torch.optim.AdamW(p, lr=1e-2, weight_decay=0.2)"),
        ("torch.optim.AdamW(p, lr=1e-2)", "torch.optim.AdamW(p, lr=1e-2, weight_decay=0.2)"),
        ("torch.optim.SGD(p, 0.1)", "torch.optim.SGD(p, 0.1, weight_decay=0.2)"),
        (
            "torch.optim.Adam(p, weight_decay=0)",
            "torch.optim.AdamW(p, weight_decay=0.2)",
        ),
    ],
)
def test_the_call_gets_a_decay_and_adam_its_decoupled_form(
    bench: Bench, optimizer: str, after: str
) -> None:
    text, fix = fix_of(bench, optimizer)
    assert bench.make(fix) == {"a.py": text.replace(optimizer, after)}


def test_a_name_that_is_imported_is_imported_anew(bench: Bench) -> None:
    imports = "from torch.optim import Adam, SGD"
    text, fix = fix_of(bench, "Adam(p)", imports=imports)
    wanted = text.replace(imports, f"{imports}, AdamW").replace(
        "= Adam(p)", "= AdamW(p, weight_decay=0.2)"
    )
    assert bench.make(fix) == {"a.py": wanted}


def test_a_number_is_edited_where_it_stands(bench: Bench) -> None:
    text, fix = fix_of(bench, "torch.optim.AdamW(p, weight_decay=args.weight_decay)")
    assert bench.make(fix) == {"a.py": text.replace("default=0.0", "default=0.2")}
    assert fix.title == ("Train with weight_decay=0.2: default of --weight-decay on line 10")
    text, fix = fix_of(bench, "torch.optim.Adam(p, weight_decay=DECAY)")
    wanted = text.replace("DECAY = 0.01", "DECAY = 0.2").replace("optim.Adam(", "optim.AdamW(")
    assert bench.make(fix) == {"a.py": wanted}


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        ("KINDS[args.kind](p)", "choose AdamW there"),
        ("torch.optim.RMSprop(p)", "choose AdamW there"),
        ("torch.optim.AdamW(p, weight_decay=0.5)", "weight_decay is 0.5 already"),
        ("torch.optim.AdamW(p, weight_decay=2 * x)", "the weight decay is given as 2 * x"),
        ("torch.optim.AdamW(p, **options)", "unpacks its arguments"),
        (
            'torch.optim.AdamW([{"params": p, "weight_decay": 0.0}])',
            "sets a weight decay of its own",
        ),
    ],
)
def test_what_cannot_be_edited_is_said(bench: Bench, optimizer: str, reason: str) -> None:
    _, fix = fix_of(bench, optimizer)
    assert fix.disabled_reason is not None
    assert reason in fix.disabled_reason


@pytest.mark.parametrize("offered", [None, "0.1", True, 0.0, -1.0, float("nan"), float("inf")])
def test_an_offer_without_a_number_is_refused(bench: Bench, offered: object) -> None:
    _, fix = fix_of(bench, "torch.optim.Adam(p)", to=offered)
    assert fix.disabled_reason is not None
    assert "expected the weight_decay to try, above 0" in fix.disabled_reason


TRANSFORMERS = """\
from transformers import Trainer, TrainingArguments
class LoudTrainer(Trainer): ...
args = {built}
trainer = {trainer}
trainer.train()
"""
OFFERED = {"weight_decay": 0.2, "measured_decay": 0.0, "optimizer": "AdamW"}


def in_library(
    bench: Bench, built: str, trainer: str = "Trainer(model, args)"
) -> tuple[str, dict[str, list[SourceFrame]]]:
    """A script whose optimizer a library builds and steps, and the places that the run recorded."""
    text = TRANSFORMERS.format(built=built, trainer=trainer)
    path = bench.write("a.py", text)
    inside = SourceFrame(
        file="/lib/trainer.py", start_line=1, start_column=0, end_line=1, end_column=9, qualname="f"
    )
    calls = [inside, bench.frame(path, "trainer.train()")]
    return text, {"optimizer": calls, "step": calls}


@pytest.mark.parametrize(
    ("trainer", "arguments"),
    [
        ("Trainer(model, args)", "TrainingArguments"),
        ("LoudTrainer(model=model, args=args)", "TrainingArguments"),
        ("Seq2SeqTrainer(model, args)", "Seq2SeqTrainingArguments"),
    ],
)
@pytest.mark.parametrize("given", ["", ", weight_decay=0.0"])
def test_transformers_that_builds_the_optimizer_is_told_the_decay(
    bench: Bench, trainer: str, arguments: str, given: str
) -> None:
    built = f"{arguments}('out'{given})"
    text, related = in_library(bench, built, trainer)
    fix = bench.one("set-weight-decay", related=related, **OFFERED)
    assert fix.title == "Train with weight_decay=0.2: line 3"
    finding = bench.diagnosis(
        related=related, fixes=[FixOffer(fix="set-weight-decay", parameters=OFFERED)]
    )
    context = FixContext(finding, None, bench.frames)
    assert not addressed(context)
    after = bench.make(fix)["a.py"]
    assert after == text.replace(built, f"{arguments}('out', weight_decay=0.2)")
    bench.write("a.py", after)
    assert addressed(context)


@pytest.mark.parametrize(
    ("fix", "built", "reason"),
    [
        ("set-weight-decay", "TrainingArguments('out', **more)", "unpacks its arguments"),
        ("set-weight-decay", "parse_args()", "the optimizer is built inside trainer.py"),
        ("set-weight-decay", "TrainingArguments('out', weight_decay=.5)", "is .5 already"),
        ("decay-tables", "TrainingArguments('out')", "line 3 has one weight_decay for all"),
    ],
)
def test_what_transformers_cannot_be_told_is_said(
    bench: Bench, fix: str, built: str, reason: str
) -> None:
    _, related = in_library(bench, built)
    proposed = bench.one(fix, related=related, tables=["item_emb"], **OFFERED)
    assert reason in (proposed.disabled_reason or "")


@pytest.mark.parametrize("now", ["own = KINDS[kind](p)", "own = mine"])
def test_settings_of_a_library_are_left_where_it_is_given_the_optimizer(
    bench: Bench, now: str
) -> None:
    was = "own = KINDS[kind](p)"
    text, related = in_library(bench, f"TrainingArguments('out')\n{was}")
    own = bench.frame(bench.root / "a.py", "KINDS[kind](p)")
    bench.write("a.py", text.replace(was, now))
    fix = bench.one("set-weight-decay", related={**related, "optimizer": [own]}, **OFFERED)
    reason = "choose AdamW there" if now == was else "the optimizer is no longer built where it was"
    assert reason in (fix.disabled_reason or "")
