from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MODEL = """\
class MF(nn.Module):
    def __init__(self):
        self.item_emb = nn.Embedding(9, 8)
        self.fc = nn.Linear(8, 1)
        nn.init.normal_(self.item_emb.weight)
    def forward(self, ids):
        return self.item_emb(ids)
    def scores(self, x):
        return x @ self.item_emb.weight.T
"""
MAIN = """\
import torch
from torch import nn

{model}
@torch.no_grad()
def evaluate(model, x):
    return model.scores(x)

def main():
    model = MF()
    optimizer = {built}
    run = gradtracer.watch(model, optimizer=optimizer)
    for ids in loader:
        optimizer.zero_grad(set_to_none=True)
        model(ids).sum().backward()
        {step}
"""
ADAM = "torch.optim.Adam(model.parameters(), lr=1e-2, betas=(.9, .99), weight_decay=1e-4)"
WATCH = "gradtracer.watch(model, optimizer=optimizer)"


def sparse(
    bench: Bench,
    built: str = ADAM,
    *,
    step: str = "optimizer.step()",
    model: str = MODEL,
    table: str = "nn.Embedding(9, 8)",
    main: str = MAIN,
    **offered: object,
) -> tuple[str, ProposedFix]:
    text = main.format(model=model, built=built, step=step)
    path = bench.write("a.py", text)
    fix = bench.one(
        "sparse-gradients",
        site=[bench.frame(path, table, "MF.__init__")],
        watch=[bench.frame(path, WATCH, "main")],
        related={"optimizer": [bench.frame(path, built, "main")]},
        **offered,
    )
    return text, fix


def test_a_table_gets_an_optimizer_of_its_own_that_steps_beside_the_other(bench: Bench) -> None:
    text, fix = sparse(bench)
    rest = "[p for p in model.parameters() if p is not model.item_emb.weight]"
    own = "torch.optim.SparseAdam([model.item_emb.weight], lr=1e-2, betas=(.9, .99))"
    expected = (
        text.replace("nn.Embedding(9, 8)", "nn.Embedding(9, 8, sparse=True)")
        .replace("model.parameters()", rest)
        .replace("1e-4)\n", f"1e-4)\n    sparse_optimizer = {own}\n")
        .replace(
            "zero_grad(set_to_none=True)\n",
            "zero_grad(set_to_none=True)\n        sparse_optimizer.zero_grad(set_to_none=True)\n",
        )
        .replace("optimizer.step()", "optimizer.step()\n        sparse_optimizer.step()")
    )
    assert bench.make(fix) == {"a.py": expected}
    assert fix.title == (
        "Set sparse=True on line 6, with SparseAdam (no weight decay) for this table"
    )


def test_a_second_table_joins_the_first_ones_optimizer(bench: Bench) -> None:
    model = MODEL.replace(
        "        nn.init", "        self.user_emb = nn.Embedding(7, 8)\n        nn.init"
    )
    _, fix = sparse(bench, model=model)
    once = bench.make(fix)["a.py"]
    path = bench.write("a.py", once)
    built = once[once.index("torch.optim.Adam(") :].partition("\n")[0]
    fix = bench.one(
        "sparse-gradients",
        site=[bench.frame(path, "nn.Embedding(7, 8)", "MF.__init__")],
        watch=[bench.frame(path, WATCH, "main")],
        related={"optimizer": [bench.frame(path, built, "main")]},
        attribute="user_emb",
    )
    twice = bench.make(fix)["a.py"]
    assert "if p is not model.item_emb.weight and p is not model.user_emb.weight]" in twice
    assert "SparseAdam([model.item_emb.weight, model.user_emb.weight], lr=1e-2" in twice
    assert twice.count("sparse_optimizer.step()") == 1
    assert "nn.Embedding(7, 8, sparse=True)" in twice


def test_optimizers_of_an_object_are_kept_and_stepped_as_its_attributes(bench: Bench) -> None:
    text = (
        "from torch.optim import Adam\n"
        "class Trainer:\n"
        "    def __init__(self, model):\n"
        "        self.model = model\n"
        "        self.optimizer = Adam(self.model.parameters())\n"
        "        gradtracer.watch(self.model)\n"
        "    def step(self, loss):\n"
        "        self.optimizer.zero_grad(); loss.backward(); self.optimizer.step()\n"
        "class MF:\n"
        "    def __init__(self):\n"
        "        self.item_emb = nn.EmbeddingBag(9, 8, sparse=False)\n"
    )
    path = bench.write("a.py", text)
    built = "Adam(self.model.parameters())"
    fix = bench.one(
        "sparse-gradients",
        site=[bench.frame(path, "nn.EmbeddingBag(9, 8, sparse=False)", "MF.__init__")],
        watch=[bench.frame(path, "gradtracer.watch(self.model)", "Trainer.__init__")],
        related={"optimizer": [bench.frame(path, built, "Trainer.__init__")]},
    )
    made = bench.make(fix)["a.py"]
    assert "from torch.optim import Adam, SparseAdam\n" in made
    assert "sparse=True)" in made
    assert "\n        self.sparse_optimizer = SparseAdam([self.model.item_emb.weight])\n" in made
    assert (
        "        self.optimizer.zero_grad(); self.sparse_optimizer.zero_grad(); loss.backward(); "
        "self.optimizer.step(); self.sparse_optimizer.step()\n"
    ) in made


def test_a_functions_own_parameter_of_that_name_is_another_thing(bench: Bench) -> None:
    own = "def other(optimizer):\n        optimizer.lr = 1\n    "
    text, fix = sparse(bench, main=MAIN.replace("    model = MF()", f"    {own}model = MF()"))
    assert bench.make(fix)["a.py"].count("sparse_optimizer") == 3
    assert own in text


@pytest.mark.parametrize(
    ("built", "group"),
    [
        (
            "torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True)",
            '"lr": LR / (1 - 0.9), "momentum": 0, "nesterov": False',
        ),
        (
            "torch.optim.Adagrad(model.parameters(), weight_decay=1e-3)",
            '"weight_decay": 0',
        ),
    ],
)
def test_an_optimizer_that_takes_sparse_gradients_keeps_them_in_a_group(
    bench: Bench, built: str, group: str
) -> None:
    _, fix = sparse(bench, built)
    made = bench.make(fix)["a.py"]
    assert f'{{"params": [model.item_emb.weight], {group}}}' in made
    assert "SparseAdam" not in made


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"step": "optimizer.step(); s = StepLR(optimizer, 3)"}, "optimizer is also used on line"),
        ({"step": "scaler.step(optimizer)"}, "optimizer is also used on line"),
        ({"step": "optimizer.step(closure)"}, "computes its loss in a closure"),
        ({"step": "pass"}, "no line here calls optimizer.step()"),
        (
            {"step": "loss = model.scores(x); optimizer.step()"},
            "the whole weight is used on line 12 of a.py, which makes its gradient dense",
        ),
        (
            {"model": MODEL.replace("self.item_emb(ids)", "helper(self.item_emb)")},
            "the table is handed on on line 10",
        ),
        (
            {"step": "torch.nn.utils.clip_grad_norm_(p, 1); optimizer.step()"},
            "clip_grad_norm_ on line 25 of a.py cannot take sparse gradients",
        ),
        ({"built": "torch.optim.RMSprop(model.parameters())"}, "RMSprop has no form for sparse"),
        (
            {"built": "torch.optim.Adam(model.user.parameters())"},
            "whether model.user is the model that was watched is not known",
        ),
        (
            {"built": "torch.optim.Adam(list(model.parameters()))"},
            "the optimizer on line 20 is not given all of model.parameters()",
        ),
        (
            {
                "model": MODEL.replace("nn.Embedding(9, 8)", "nn.Embedding(9, 8, **kw)"),
                "table": "nn.Embedding(9, 8, **kw)",
            },
            "unpacks its arguments",
        ),
        ({"attribute": "tables.0"}, "one of a container's"),
        (
            {"model": MODEL.replace("        self.fc = nn.Linear(8, 1)\n", "")},
            "the tables are all that the model has",
        ),
    ],
)
def test_where_the_gradient_or_the_step_would_be_wrong_nothing_is_edited(
    bench: Bench, change: dict[str, str], reason: str
) -> None:
    _, fix = sparse(bench, **change)  # pyright: ignore[reportArgumentType]
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


def test_the_optimizers_recorded_class_is_believed_where_the_text_hides_it(bench: Bench) -> None:
    built = "KINDS[kind](model.parameters(), lr=1)"
    assert sparse(bench, built)[1].disabled_reason == (
        "the optimizer has no form for sparse gradients"
    )
    _, fix = sparse(bench, built, optimizer="Adam")
    assert "SparseAdam([model.item_emb.weight], lr=1)" in bench.make(fix)["a.py"]


@pytest.mark.parametrize(("table", "is_addressed"), [("", False), (", sparse=True", True)])
def test_a_finding_is_addressed_once_the_table_is_sparse(
    bench: Bench, table: str, is_addressed: bool
) -> None:
    model = MODEL.replace("nn.Embedding(9, 8)", f"nn.Embedding(9, 8{table})")
    path = bench.write("a.py", MAIN.format(model=model, built=ADAM, step="optimizer.step()"))
    diagnosis = bench.diagnosis(
        site=[bench.frame(path, f"nn.Embedding(9, 8{table})", "MF.__init__")],
        fixes=[FixOffer(fix="sparse-gradients")],
    )
    assert addressed(FixContext(diagnosis, None, bench.frames)) is is_addressed
