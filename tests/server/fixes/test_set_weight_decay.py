from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_server.fixes.proposal import ProposedFix

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
    bench: Bench, tables: object, built: str = f"torch.optim.{GROUPED}", text: str = TWO_TABLES
) -> tuple[str, ProposedFix]:
    text = text.format(statement=f"optimizer = {built}")
    path = bench.write("a.py", text)
    optimizer = bench.frame(path, built, "main")
    fix = bench.one(
        "set-weight-decay",
        site=[optimizer],
        watch=[bench.frame(path, "gradtracer.watch(model, optimizer=optimizer)", "main")],
        related={"optimizer": [optimizer]},
        weight_decay=0.2,
        measured_decay=0.0,
        optimizer="AdamW",
        tables=tables,
    )
    return text, fix


def test_tables_decay_in_a_group_of_their_own_and_the_rest_as_before(bench: Bench) -> None:
    text, fix = of_tables(bench, ["user_emb", "item_emb"])
    assert fix.title == "Train with AdamW with weight_decay=0.2 for user_emb, item_emb: line 9"
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
        ([1], "torch.optim.Adam(model.parameters())", "as a list of paths"),
        (
            ["item_emb"],
            'torch.optim.AdamW([{"params": model.parameters(), "weight_decay": 0.2}])',
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
