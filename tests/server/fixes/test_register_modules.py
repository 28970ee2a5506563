from __future__ import annotations

import pytest
import torch
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed
from gradtracer_server.fixes.safety import is_safe

TEXT = """\
import torch
from torch import nn

class Scores(nn.Module):
    def __init__(self, sizes):
        {first}
        {tables}
        self.out = nn.Linear(8, 1)

    def forward(self, ids):
        return {use}

model = Scores([3, 4])
"""
SUPER = "super().__init__()"
COMPREHENSION = "[nn.Embedding(n, 8) for n in sizes]"


def register(
    bench: Bench,
    tables: str,
    *,
    first: str = SUPER,
    use: str = "self.tables",
    holder: object = "tables",
) -> tuple[str, ProposedFix]:
    text = TEXT.format(first=first, tables=tables, use=use)
    path = bench.write("a.py", text)
    call = next(each for each in ("nn.Embedding(n, 8)", "nn.Embedding(3, 8)") if each in text)
    site = [bench.frame(path, call, "Scores.__init__"), bench.frame(path, "Scores([3, 4])")]
    return text, bench.one("register-modules", site=site, holder=holder)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (COMPREHENSION, f"nn.ModuleList({COMPREHENSION})"),
        ("[nn.Embedding(3, 8)]", "nn.ModuleList([nn.Embedding(3, 8)])"),
        ("(nn.Embedding(3, 8), nn.ReLU())", "nn.ModuleList((nn.Embedding(3, 8), nn.ReLU()))"),
        ("nn.Embedding(3, 8), nn.ReLU()", "nn.ModuleList([nn.Embedding(3, 8), nn.ReLU()])"),
        ("{'a': nn.Embedding(3, 8)}", "nn.ModuleDict({'a': nn.Embedding(3, 8)})"),
        (
            "{str(n): nn.Embedding(n, 8) for n in sizes}",
            "nn.ModuleDict({str(n): nn.Embedding(n, 8) for n in sizes})",
        ),
        (
            "[]\n        for n in sizes:\n            self.tables.append(nn.Embedding(n, 8))",
            "nn.ModuleList()\n        for n in sizes:\n"
            "            self.tables.append(nn.Embedding(n, 8))",
        ),
        (
            "{}\n        self.tables['a'] = nn.Embedding(3, 8)",
            "nn.ModuleDict()\n        self.tables['a'] = nn.Embedding(3, 8)",
        ),
    ],
)
def test_what_holds_them_becomes_one_that_pytorch_looks_into(
    bench: Bench, given: str, kept: str
) -> None:
    text, fix = register(bench, f"self.tables = {given}")
    after = bench.make(fix)["a.py"]
    assert after == text.replace(given, kept)
    assert not is_safe(fix)
    names: dict[str, object] = {}
    exec(after, names)
    model = names["model"]
    assert isinstance(model, torch.nn.Module)
    assert any(name.startswith("tables.") for name in model.state_dict())


def test_once_registered_the_finding_is_answered(bench: Bench) -> None:
    _, fix = register(bench, f"self.tables = nn.ModuleList({COMPREHENSION})")
    assert fix.disabled_reason == "self.tables is an nn.ModuleList on line 7"
    path = bench.root / "a.py"
    finding = bench.diagnosis(
        site=[bench.frame(path, "nn.Embedding(n, 8)", "Scores.__init__")],
        fixes=[FixOffer(fix="register-modules", parameters={"holder": "tables"})],
    )
    assert addressed(FixContext(finding, None, bench.frames))


def test_the_list_may_be_that_of_the_layers_owner(bench: Bench) -> None:
    text = (
        "from torch import nn\n"
        "class Tower(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.emb = nn.Embedding(3, 8)\n"
        "class Scores(nn.Module):\n"
        "    def __init__(self):\n"
        "        super(Scores, self).__init__()\n"
        "        self.towers = [Tower()]\n"
    )
    path = bench.write("a.py", text)
    site = [
        bench.frame(path, "nn.Embedding(3, 8)", "Tower.__init__"),
        bench.frame(path, "Tower()", "Scores.__init__"),
    ]
    fix = bench.one("register-modules", site=site, holder="towers")
    assert bench.make(fix)["a.py"] == text.replace("[Tower()]", "nn.ModuleList([Tower()])")


@pytest.mark.parametrize(
    ("tables", "given", "reason"),
    [
        ("self.tables = build(nn.Embedding(3, 8))", {}, "line 7 is no list or dict"),
        ("self.tables = [nn.Embedding(3, 8)] * 2", {}, "line 7 is no list or dict"),
        (f"self.tables = {COMPREHENSION}; self.tables = []", {}, "is set in 2 places"),
        (f"self.tables = {COMPREHENSION}", {"first": "pass"}, "super().__init__() is not called"),
        (
            f"self.tables = {COMPREHENSION}",
            {"use": "self.tables.index(ids)"},
            "tables.index() is called, and an nn.ModuleList has no index",
        ),
        (
            "self.tables = {'a': nn.Embedding(3, 8)}",
            {"use": "self.tables.get(ids)"},
            "an nn.ModuleDict has no get",
        ),
        (f"self.others = {COMPREHENSION}", {}, "where self.tables is set cannot be read"),
        (f"self.tables = {COMPREHENSION}", {"holder": None}, "expected the attribute"),
        (f"self.tables = {COMPREHENSION}", {"holder": "a.b"}, "expected the attribute"),
    ],
)
def test_what_cannot_be_registered_is_said(
    bench: Bench, tables: str, given: dict[str, str], reason: str
) -> None:
    _, fix = register(bench, tables, **given)
    assert reason in (fix.disabled_reason or "")
