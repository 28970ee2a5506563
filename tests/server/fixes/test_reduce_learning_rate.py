from __future__ import annotations

import ast

import msgspec
import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MAIN = """\
import torch, gradtracer

LR = 1e-2

class MF(nn.Module):
    def __init__(self):
        self.item_emb = nn.Embedding(9, 8)
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

def main(args):
    model = MF()
    {optimizer}
    {watch}

parser.add_argument("--lr", type=float, default=0.01)
"""
WATCH = "gradtracer.watch(model)"


def call_in(statement: str) -> str:
    """The text of the first call of a statement."""
    (node,) = ast.parse(statement).body
    found = next(each for each in ast.walk(node) if isinstance(each, ast.Call))
    return ast.get_source_segment(statement, found) or ""


def lower(
    bench: Bench, optimizer: str, *, watch: str = WATCH, built: str = "MF()", **offered: object
) -> ProposedFix:
    text = MAIN.format(optimizer=optimizer, watch=watch)
    path = bench.write("a.py", text)
    related = {"optimizer": [bench.frame(path, call_in(optimizer), "main")]}
    if watch != "pass":
        related["watch"] = [bench.frame(path, watch, "main")]
    site = [
        bench.frame(path, "nn.Embedding(9, 8)", "MF.__init__"),
        bench.frame(path, built, "main"),
    ]
    offered = {"lr": 1e-3, "measured_lr": 1e-2, **offered}
    return bench.one("reduce-learning-rate", site=site, related=related, **offered)


@pytest.mark.parametrize(
    ("optimizer", "before", "after"),
    [
        ("opt = Adam(model.parameters(), lr=1e-2)", "lr=1e-2", "lr=0.001"),
        ("opt = Adam(model.parameters(), 1e-2)", "(), 1e-2", "(), 0.001"),
        ("opt = Adam(model.parameters(), lr=LR)", "LR = 1e-2", "LR = 0.001"),
        ("opt = KINDS[args.kind](model.parameters(), lr=args.lr)", "default=0.01", "default=0.001"),
        (
            "opt = Adam(\n        model.parameters(),\n        lr=.01,  # high\n    )",
            "lr=.01,  # high",
            "lr=0.001,  # high",
        ),
        ("opt = Adam(model.parameters())", "parameters())", "parameters(), lr=0.001)"),
        (
            "opt = Adam([{'params': a.parameters()}], lr=1e-2)",
            "lr=1e-2",
            "lr=0.001",
        ),
    ],
)
def test_the_rate_of_everything_is_edited_where_it_stands(
    bench: Bench, optimizer: str, before: str, after: str
) -> None:
    text = MAIN.format(optimizer=optimizer, watch=WATCH)
    assert text.count(before) == 1
    assert bench.make(lower(bench, optimizer)) == {"a.py": text.replace(before, after)}


SPLIT = """[
        {"params": [model.item_emb.weight], "lr": 0.001},
        {"params": [p for p in model.parameters() if p is not model.item_emb.weight]},
    ]"""


@pytest.mark.parametrize(
    ("optimizer", "before", "after"),
    [
        ("opt = Adam(model.parameters(), lr=1e-2)", "model.parameters()", SPLIT),
        ("opt = Adam(params=model.parameters())", "model.parameters()", SPLIT),
        (
            "opt = Adam([{'params': model.item_emb.parameters(), 'lr': 1e-2},"
            " {'params': model.blocks.parameters()}], lr=1)",
            "'lr': 1e-2",
            "'lr': 0.001",
        ),
        (
            "opt = Adam([{'params': [model.item_emb.weight]}], lr=1)",
            "weight]}",
            "weight], 'lr': 0.001}",
        ),
        ("opt = Adam(model.item_emb.parameters(), lr=1e-2)", "lr=1e-2", "lr=0.001"),
    ],
)
def test_the_rate_of_one_layer_is_set_in_a_group_of_its_own(
    bench: Bench, optimizer: str, before: str, after: str
) -> None:
    text = MAIN.format(optimizer=optimizer, watch=WATCH)
    assert text.count(before) == 1
    fix = lower(bench, optimizer, parameters="item_emb.weight")
    assert bench.make(fix) == {"a.py": text.replace(before, after)}


def test_the_layers_of_a_container_are_written_by_their_place(bench: Bench) -> None:
    fix = lower(
        bench, "opt = Adam(model.parameters())", parameters="blocks.0", attribute="blocks.0"
    )
    assert '{"params": model.blocks[0].parameters(), "lr": 0.001}' in bench.make(fix)["a.py"]


def test_groups_by_name_are_found_where_the_list_has_one(bench: Bench) -> None:
    text = MAIN.format(
        optimizer="groups = [{'params': [model.item_emb.weight], 'lr': LR}]\n    opt = SGD(groups)",
        watch=WATCH,
    )
    path = bench.write("a.py", text)
    related = {
        "optimizer": [bench.frame(path, "SGD(groups)", "main")],
        "watch": [bench.frame(path, WATCH, "main")],
    }
    fix = bench.one("reduce-learning-rate", related=related, lr=1e-3, parameters="item_emb.weight")
    assert bench.make(fix) == {"a.py": text.replace("LR = 1e-2", "LR = 0.001")}


def test_a_model_that_nothing_watches_is_known_by_the_call_that_built_it(bench: Bench) -> None:
    optimizer = "opt = Adam(model.parameters())"
    fix = lower(bench, optimizer, watch="pass", parameters="item_emb.weight")
    assert fix.title == "Give item_emb.weight a parameter group of its own with lr=0.001"
    other = lower(bench, "opt = Adam(other.parameters())", parameters="item_emb.weight")
    assert other.disabled_reason == "whether other is the model that was watched is not known"


def test_a_factory_is_followed_to_the_call_that_passed_the_model_and_the_rate(
    bench: Bench,
) -> None:
    text = (
        "def build(net, rate):\n"
        "    return torch.optim.Adam(net.parameters(), lr=rate)\n"
        "model = MF()\n"
        "optimizer = build(model, 0.01)\n"
        "gradtracer.watch(model, optimizer)\n"
    )
    path = bench.write("a.py", text)
    call = "torch.optim.Adam(net.parameters(), lr=rate)"
    related = {
        "optimizer": [bench.frame(path, call, "build"), bench.frame(path, "build(model, 0.01)")],
        "watch": [bench.frame(path, "gradtracer.watch(model, optimizer)")],
    }
    whole = bench.one("reduce-learning-rate", related=related, lr=1e-3)
    assert bench.make(whole) == {"a.py": text.replace("0.01", "0.001")}
    layer = bench.one(
        "reduce-learning-rate", related=related, lr=1e-3, parameters="item_emb.weight"
    )
    assert '{"params": [net.item_emb.weight], "lr": 0.001}' in bench.make(layer)["a.py"]


def test_lightnings_self_is_the_model_where_its_class_sets_the_layer(bench: Bench) -> None:
    text = (
        "class Lit(LightningModule):\n"
        "\tdef __init__(self):\n"
        "\t\tself.item_emb = nn.Embedding(9, 8)\n"
        "\tdef configure_optimizers(self):\n"
        "\t\treturn torch.optim.Adam(self.parameters())\n"
    )
    path = bench.write("a.py", text)
    frame = bench.frame(path, "torch.optim.Adam(self.parameters())", "Lit.configure_optimizers")
    related = {"optimizer": [frame]}
    fix = bench.one("reduce-learning-rate", related=related, lr=1e-3, parameters="item_emb.weight")
    assert '\n\t\t\t{"params": [self.item_emb.weight], "lr": 0.001},\n' in bench.make(fix)["a.py"]
    text = text.replace("self.item_emb", "self.model.item_emb")
    path = bench.write("a.py", text)
    other = bench.one(
        "reduce-learning-rate", related=related, lr=1e-3, parameters="item_emb.weight"
    )
    assert other.disabled_reason == "whether self is the model that was watched is not known"


@pytest.mark.parametrize(
    ("optimizer", "offered", "reason"),
    [
        ("opt = Adam(model.parameters(), lr=1e-4)", {}, "lr is 0.0001 already; try 0.001"),
        ("opt = Adam(model.parameters(), lr=f(1))", {}, "no single number sets it"),
        ("opt = Adam(model.parameters(), **kw)", {}, "unpacks its arguments"),
        (
            "opt = Adam([{'params': x, 'lr': 1e-2}], lr=1)",
            {},
            "the group on line 12 sets a learning rate of its own",
        ),
        (
            "opt = Adam(chosen(model), lr=1e-2)",
            {"parameters": "item_emb.weight"},
            "the optimizer is given chosen(model) on line 12; expected model.parameters()",
        ),
        (
            "opt = Adam([{'params': other.parameters()}])",
            {"parameters": "item_emb.weight"},
            "do not name item_emb.weight",
        ),
        ("opt = Adam(model.parameters())", {"lr": 0}, "expected the lr to try, above 0, got 0"),
        ("opt = Adam(model.parameters())", {"lr": True}, "expected the lr to try"),
        ("opt = Adam(model.parameters())", {"parameters": "a..b"}, "expected the dotted path"),
        (
            "opt = Adam(model.parameters())",
            {"parameters": "item_emb_2.weight"},
            "where item_emb_2 is in the model was not recorded",
        ),
        (
            "opt = Adam(model.parameters(), lr=1e-2); s = OneCycleLR(opt, max_lr=1)",
            {},
            "OneCycleLR on line 12 sets the learning rate: change it there",
        ),
    ],
)
def test_what_cannot_be_lowered_says_why(
    bench: Bench, optimizer: str, offered: dict[str, object], reason: str
) -> None:
    text = MAIN.format(optimizer=optimizer, watch=WATCH)
    path = bench.write("a.py", text)
    call = call_in(optimizer.partition(";")[0])
    related = {
        "optimizer": [bench.frame(path, call, "main")],
        "watch": [bench.frame(path, WATCH, "main")],
    }
    (fix,) = bench.propose(
        "reduce-learning-rate", related=related, **{"lr": 1e-3, "measured_lr": 1e-2, **offered}
    )
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


def test_an_optimizer_built_by_a_library_is_not_edited(bench: Bench) -> None:
    path = bench.write("a.py", "trainer.fit(model)\n")
    inner = bench.frame(path, "trainer.fit(model)")
    outer = bench.frame(path, "trainer.fit(model)")
    foreign = msgspec.structs.replace(inner, file="/usr/lib/python3/trainer.py")
    fix = bench.one("reduce-learning-rate", related={"optimizer": [foreign, outer]}, lr=1e-3)
    assert fix.disabled_reason is not None
    assert "built inside trainer.py, outside the workspace" in fix.disabled_reason


@pytest.mark.parametrize(
    ("optimizer", "path", "is_addressed"),
    [
        ("Adam(model.parameters(), lr=1e-2)", "", False),
        ("Adam(model.parameters(), lr=5e-3)", "", True),
        ("Adam(model.parameters(), lr=1e-2)", "item_emb.weight", False),
        (f"Adam({SPLIT}, lr=1e-2)", "item_emb.weight", True),
    ],
)
def test_a_finding_is_addressed_once_the_text_says_a_lower_rate(
    bench: Bench, optimizer: str, path: str, is_addressed: bool
) -> None:
    text = MAIN.format(optimizer=f"opt = {optimizer}", watch=WATCH)
    file = bench.write("a.py", text)
    parameters = {"lr": 1e-3, "measured_lr": 1e-2} | ({"parameters": path} if path else {})
    diagnosis = bench.diagnosis(
        watch=[bench.frame(file, WATCH, "main")],
        fixes=[FixOffer(fix="reduce-learning-rate", parameters=parameters)],
        related={"optimizer": [bench.frame(file, optimizer, "main")]},
    )
    assert addressed(FixContext(diagnosis, None, bench.frames)) is is_addressed
