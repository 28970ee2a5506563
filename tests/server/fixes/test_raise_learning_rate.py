from __future__ import annotations

import ast

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer, SourceFrame
from gradtracer_server.fixes.literals import written
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MAIN = """\
import torch, gradtracer

class TwoTower(nn.Module):
    def __init__(self):
        self.user = nn.Linear(8, 8)
        self.body = Body()

model = TwoTower()
optimizer = {optimizer}
gradtracer.watch(model, optimizer=optimizer)
"""


def raise_rate(bench: Bench, optimizer: str, **offered: object) -> ProposedFix:
    path = bench.write("a.py", MAIN.format(optimizer=optimizer))
    site = [
        bench.frame(path, "nn.Linear(8, 8)", "TwoTower.__init__"),
        bench.frame(path, "TwoTower()"),
    ]
    return bench.one(
        "raise-learning-rate",
        site=site,
        related={"optimizer": [bench.frame(path, optimizer)]},
        watch=[bench.frame(path, "gradtracer.watch(model, optimizer=optimizer)")],
        **{"lr": 0.01, "measured_lr": 1e-4, "attribute": "user", **offered},
    )


def made(bench: Bench, optimizer: str, **offered: object) -> str:
    """What the optimizer's statement is after the fix; nothing else may have changed."""
    after = bench.make(raise_rate(bench, optimizer, **offered))["a.py"]
    before, behind = MAIN.split("{optimizer}")
    assert after.startswith(before) and after.endswith(behind)
    ast.parse(after)
    return after.removeprefix(before).removesuffix(behind)


def test_the_rate_of_everything_is_raised_where_it_stands(bench: Bench) -> None:
    assert made(bench, "Adam(model.parameters(), lr=1e-4)") == "Adam(model.parameters(), lr=0.01)"


@pytest.mark.parametrize("rate", ["0.01", "1e-3"])
def test_rate_that_was_raised_since_the_run_is_left_and_answers_the_finding(
    bench: Bench, rate: str
) -> None:
    fix = raise_rate(bench, f"Adam(model.parameters(), lr={rate})")
    assert fix.disabled_reason is not None
    assert "already" in fix.disabled_reason


def test_part_gets_a_group_of_its_own(bench: Bench) -> None:
    assert made(bench, "Adam(model.parameters(), lr=1e-4)", parameters="user") == (
        "Adam([\n"
        '    {"params": model.user.parameters(), "lr": 0.01},\n'
        '    {"params": [p for p in model.parameters() '
        "if all(p is not q for q in model.user.parameters())]},\n"
        "], lr=1e-4)"
    )


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (
            "[{'params': model.parameters(), 'weight_decay': .1, 'lr': LR}]",
            '[{"params": model.user.parameters(), \'weight_decay\': .1, "lr": 0.01}, '
            "{'params': [p for p in model.parameters() "
            "if all(p is not q for q in model.user.parameters())], 'weight_decay': .1, 'lr': LR}]",
        ),
        (
            "[\n    # all\n    {'params': model.parameters()},  # of it\n]",
            '[\n    # all\n    {"params": model.user.parameters(), "lr": 0.01},\n'
            "    {'params': [p for p in model.parameters() "
            "if all(p is not q for q in model.user.parameters())]},  # of it\n]",
        ),
    ],
    ids=["one line", "several lines"],
)
def test_part_is_split_off_the_group_it_shares(bench: Bench, groups: str, expected: str) -> None:
    assert (
        made(bench, f"Adam({groups}, lr=1e-4)", parameters="user") == f"Adam({expected}, lr=1e-4)"
    )


def test_part_is_split_off_the_group_of_its_owner(bench: Bench) -> None:
    groups = "[{'params': model.body.parameters()}, {'params': model.user.parameters()}]"
    after = made(bench, f"Adam({groups})", parameters="body.emb", attribute="body.emb")
    assert after.startswith('Adam([{"params": model.body.emb.parameters(), "lr": 0.01}, ')
    assert "[p for p in model.body.parameters() if all(p is not q" in after
    assert after.endswith("{'params': model.user.parameters()}])")


TRANSFORMERS = """\
from transformers import Trainer, TrainingArguments
args = TrainingArguments("out"{rate})
trainer = Trainer(model, args)
trainer.train()
"""


@pytest.mark.parametrize("rate", ["", ", learning_rate=1e-4"])
@pytest.mark.parametrize("fix", ["raise-learning-rate", "reduce-learning-rate"])
def test_rate_of_a_library_that_builds_the_optimizer_is_set_in_its_settings(
    bench: Bench, rate: str, fix: str
) -> None:
    text = TRANSFORMERS.format(rate=rate)
    path = bench.write("a.py", text)
    lr = 0.01 if fix.startswith("raise") else 1e-5
    inside = SourceFrame(
        file="/lib/trainer.py", start_line=1, start_column=0, end_line=1, end_column=9, qualname="f"
    )
    calls = [inside, bench.frame(path, "trainer.train()")]
    related = {"optimizer": calls, "step": calls}
    offered = {"lr": lr, "measured_lr": 1e-4}
    alone = bench.one(fix, related=related, parameters="item_emb.weight", **offered)
    assert "one rate for all" in (alone.disabled_reason or "")
    finding = bench.diagnosis(related=related, fixes=[FixOffer(fix=fix, parameters=offered)])
    context = FixContext(finding, None, bench.frames)
    assert not addressed(context)
    made = bench.make(bench.one(fix, related=related, **offered))["a.py"]
    assert made == TRANSFORMERS.format(rate=f", learning_rate={written(lr)}")
    bench.write("a.py", made)
    assert addressed(context)


LIGHTNING = """\
class Lit(LightningModule):
    def __init__(self, lr={default}):
        {keep}
        self.user = nn.Linear(8, 8)

    def configure_optimizers(self):
        return Adam(self.parameters(), lr={rate})

model = Lit({given})
"""


@pytest.mark.parametrize(
    ("keep", "rate"),
    [("self.lr = lr", "self.lr"), ("self.save_hyperparameters()", "self.hparams.lr")],
)
@pytest.mark.parametrize(
    ("default", "given", "edited"),
    [("1e-4", "", "lr=0.01)"), ("None", "lr=1e-4", "Lit(lr=0.01)")],
    ids=["by default", "by the call"],
)
@pytest.mark.parametrize("of", ["a layer", "the training"])
def test_rate_of_a_lightning_module_is_set_where_its_constructor_got_it(
    bench: Bench, of: str, keep: str, rate: str, default: str, given: str, edited: str
) -> None:
    text = LIGHTNING.format(default=default, keep=keep, rate=rate, given=given)
    path = bench.write("a.py", text)
    built = bench.frame(path, f"Adam(self.parameters(), lr={rate})", "Lit.configure_optimizers")
    model = [bench.frame(path, f"Lit({given})")]
    layer = [bench.frame(path, "nn.Linear(8, 8)", "Lit.__init__"), *model]
    related = {"optimizer": [built]} | ({} if of == "a layer" else {"model": model})
    fix = bench.one(
        "raise-learning-rate",
        site=layer if of == "a layer" else [built],
        related=related,
        lr=0.01,
        measured_lr=1e-4,
    )
    after = bench.make(fix)["a.py"]
    assert edited in after
    assert after.replace("0.01", "1e-4") == text


def test_what_a_subclass_was_given_is_not_what_its_base_got(bench: Bench) -> None:
    text = LIGHTNING.format(default="1e-4", keep="self.lr = lr", rate="self.lr", given="1e-4")
    own = "class Own(Lit):\n    def __init__(self, width):\n        super().__init__()\n\n"
    text = text.replace("model = Lit(", f"{own}model = Own(")
    path = bench.write("a.py", text)
    built = bench.frame(path, "Adam(self.parameters(), lr=self.lr)", "Lit.configure_optimizers")
    related = {"optimizer": [built], "model": [bench.frame(path, "Own(1e-4)")]}
    fix = bench.one("raise-learning-rate", site=[built], related=related, lr=0.01, measured_lr=1e-4)
    assert fix.disabled_reason == "lr is passed by a call that the run did not record"
