from __future__ import annotations

from pathlib import Path

import pytest
from fix_bench import Bench

from gradtracer_server.fixes.proposal import ProposedFix

TWO_TABLES = """\
class Net(nn.Module):
    def __init__(self):
        self.user_emb = nn.Embedding(9, 8)
        self.item_emb = nn.Embedding(9, 8)
        self.fc = nn.Linear(8, 1)

def main():
    model = Net()
    {statement}
    run = gradtracer.watch(model, optimizer=optimizer)
"""
GROUPED = "Adam(model.parameters(), lr=1e-2)"


def of_tables(
    bench: Bench,
    tables: object,
    built: str = f"torch.optim.{GROUPED}",
    text: str = TWO_TABLES,
    fix: str = "decay-tables",
) -> tuple[str, ProposedFix]:
    text = text.format(statement=f"optimizer = {built}")
    path = bench.write("a.py", text)
    optimizer = bench.frame(path, built, "main")
    proposed = bench.one(
        fix,
        site=[optimizer],
        watch=[bench.frame(path, "gradtracer.watch(model, optimizer=optimizer)", "main")],
        related={"optimizer": [optimizer]},
        weight_decay=0.2,
        measured_decay=1e-3 if "1e-3" in built else 0.0,
        optimizer="AdamW",
        tables=tables,
    )
    return text, proposed


def test_tables_decay_in_a_group_of_their_own_and_the_rest_as_before(bench: Bench) -> None:
    text, fix = of_tables(bench, ["user_emb", "item_emb"])
    assert fix.title == "Decay user_emb, item_emb alone, by weight_decay=0.2: line 9"
    after = """\
    tables = [*model.user_emb.parameters(), *model.item_emb.parameters()]
    optimizer = torch.optim.AdamW([
        {"params": tables, "weight_decay": 0.2},
        {"params": [p for p in model.parameters() if all(p is not q for q in tables)]},
    ], lr=1e-2, weight_decay=0)
"""
    assert bench.make(fix) == {
        "a.py": text.replace(f"    optimizer = torch.optim.{GROUPED}\n", after)
    }


def test_one_table_needs_no_name(bench: Bench) -> None:
    text, fix = of_tables(bench, ["item_emb"])
    [made] = bench.make(fix).values()
    assert '{"params": model.item_emb.parameters(), "weight_decay": 0.2},' in made
    assert made.count("\n") == text.count("\n") + 3


def test_a_decay_that_the_rest_has_stays(bench: Bench) -> None:
    _, fix = of_tables(
        bench, ["item_emb"], "torch.optim.AdamW(model.parameters(), weight_decay=1e-3)"
    )
    [made] = bench.make(fix).values()
    assert made.count("weight_decay") == 2 and "], weight_decay=1e-3)" in made


def test_a_name_that_is_in_use_is_not_taken(bench: Bench) -> None:
    text = TWO_TABLES.replace("    model = Net()\n", "    tables = 3\n    model = Net()\n")
    _, fix = of_tables(bench, ["user_emb", "item_emb"], text=text)
    [made] = bench.make(fix).values()
    assert "tables = 3" in made and "    tables_2 = [*model.user_emb" in made


@pytest.mark.parametrize(
    ("tables", "built", "reason"),
    [
        (["item_emb"], "torch.optim.Adam(weights)", "expected model.parameters()"),
        (["item_emb"], "torch.optim.Adam(other.parameters())", "is not known"),
        (["item_emb"], "torch.optim.Adam(model.parameters(), **given)", "unpacks its arguments"),
        ("item_emb", "torch.optim.Adam(model.parameters())", "as a list of paths"),
        ([], "torch.optim.Adam(model.parameters())", "as a list of paths"),
        ([1], "torch.optim.Adam(model.parameters())", "as a list of paths"),
        (
            ["item_emb"],
            'torch.optim.AdamW([{"params": model.parameters(), "weight_decay": 0.1}])',
            "sets a weight decay of its own",
        ),
    ],
)
def test_tables_that_cannot_be_given_a_group_are_said(
    bench: Bench, tables: object, built: str, reason: str
) -> None:
    text = TWO_TABLES.replace("{statement}", "weights, other = [], Net()\n    {statement}")
    # Braces of a group are no place of the template.
    _, fix = of_tables(bench, tables, built, text)
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


@pytest.mark.parametrize(
    ("wrapped", "reached"),
    [
        ("model = DDP(model, device_ids=[0])", "model.module"),
        ("model = torch.nn.DataParallel(model)", "model.module"),
        ("if ranks > 1:\n        model = DDP(model)", 'getattr(model, "module", model)'),
        ("model = DDP(model)\n    model = torch.compile(model)", 'getattr(model, "module", model)'),
        ("model = torch.compile(model)", "model"),
    ],
)
def test_within_a_wrapper_the_tables_are_those_of_its_module(
    bench: Bench, wrapped: str, reached: str
) -> None:
    imported = "from torch.nn.parallel import DistributedDataParallel as DDP\n\n"
    text = imported + TWO_TABLES.replace("{statement}", f"{wrapped}\n    {{statement}}")
    _, fix = of_tables(bench, ["user_emb", "item_emb"], text=text)
    [made] = bench.make(fix).values()
    assert f"[*{reached}.user_emb.parameters(), *{reached}.item_emb.parameters()]" in made
    assert "[p for p in model.parameters() if" in made
    _, fix = of_tables(bench, ["item_emb"], text=text)
    [made] = bench.make(fix).values()
    assert f'{{"params": {reached}.item_emb.parameters(), "weight_decay": 0.2}},' in made


@pytest.mark.parametrize("fix", ["set-weight-decay", "decay-tables"])
def test_once_made_it_is_known_and_not_made_again(bench: Bench, fix: str) -> None:
    group = '{{"params": model.item_emb.parameters(), "weight_decay": 0.2}}'
    built = f"torch.optim.AdamW([{group}])".replace("{{", "{").replace("}}", "}")
    _, proposed = of_tables(bench, ["item_emb"], built, fix=fix)
    assert proposed.disabled_reason == "the group on line 9 has weight_decay=0.2 already"


TRAIN = """\
from torch.nn.parallel import DistributedDataParallel as DDP

class Net(nn.Module):
    def __init__(self):
        self.user_emb = nn.Embedding(9, 8)
        self.item_emb = nn.Embedding(9, 8)

def main(model):
    {before}
    optimizer = {statement}
    run = gradtracer.watch(model, optimizer=optimizer)

net = DDP(Net())
main(net)
"""


TRAIN_ALONE = """\
def main(model):
    optimizer = {statement}
    run = gradtracer.watch(model, optimizer=optimizer)
"""
CALLS = """\
{imported}
from a import main

net = {wrapped}
main(net)
"""


def decayed_in_main(bench: Bench, trains: Path, calls: Path, built: str, watched: str) -> str:
    """The file of `main` after the fix, where a file calls `main(net)`."""
    optimizer, caller = bench.frame(trains, built, "main"), bench.frame(calls, "main(net)")
    call = f"gradtracer.watch({watched}, optimizer=optimizer)"
    fix = bench.one(
        "decay-tables",
        site=[optimizer, caller],
        watch=[bench.frame(trains, call, "main"), caller],
        related={"optimizer": [optimizer, caller]},
        weight_decay=0.2,
        measured_decay=0.0,
        tables=["item_emb"],
    )
    [made] = bench.make(fix).values()
    return made


@pytest.mark.parametrize(
    ("before", "model", "watched", "reached"),
    [
        ("pass", "model", "model", 'getattr(model, "module", model)'),
        ("ddp = DDP(Net())", "ddp.module", "ddp.module", "ddp.module"),
        ("ddp = DDP(Net())", "ddp.module", "ddp", "ddp.module"),
        ("ddp = DDP(Net())", "ddp", "ddp", "ddp.module"),
    ],
)
def test_what_may_be_a_wrapper_is_asked_for_its_module(
    bench: Bench, before: str, model: str, watched: str, reached: str
) -> None:
    built = f"torch.optim.Adam({model}.parameters())"
    text = TRAIN.format(before=before, statement=built).replace("watch(model", f"watch({watched}")
    path = bench.write("a.py", text)
    made = decayed_in_main(bench, path, path, built, watched)
    assert f'{{"params": {reached}.item_emb.parameters(), "weight_decay": 0.2}},' in made
    assert f"[p for p in {model}.parameters() if" in made


@pytest.mark.parametrize(
    ("imported", "wrapped", "reached"),
    [
        (
            "from torch.nn.parallel import DistributedDataParallel as DDP",
            "DDP(Net())",
            'getattr(model, "module", model)',
        ),
        ("import torch", "torch.compile(Net())", "model"),
    ],
)
def test_a_wrapper_in_the_file_that_calls_is_seen(
    bench: Bench, imported: str, wrapped: str, reached: str
) -> None:
    built = "torch.optim.Adam(model.parameters())"
    trains = bench.write("a.py", TRAIN_ALONE.format(statement=built))
    calls = bench.write("b.py", CALLS.format(imported=imported, wrapped=wrapped))
    made = decayed_in_main(bench, trains, calls, built, "model")
    assert f'{{"params": {reached}.item_emb.parameters(), "weight_decay": 0.2}},' in made


def test_a_wrapper_of_the_user_s_own_is_not_taken_off(bench: Bench) -> None:
    text = TWO_TABLES.replace("model = Net()", "model = Wrapper(Net())")
    built = "torch.optim.Adam(model.module.parameters())"
    _, fix = of_tables(bench, ["module.item_emb"], built, text)
    assert fix.disabled_reason is not None and "is not known" in fix.disabled_reason
