from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

TEXT = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class MF(nn.Module):
    def __init__(self):
        self.item_emb = nn.Embedding(900, 8)
    def forward(self, u, i):
        return self.item_emb(i).sum(-1)

def main(users, items, labels):
    model = MF()
    import torch.utils.data as loading
    data = {data}
    loader = {loader}
    for {target} in {over}:
        loss = model(user, item).sum()
"""
PARTS = {
    "data": "TensorDataset(users, items, labels)",
    "loader": "DataLoader(data, batch_size=64, shuffle=True)",
    "target": "user, item, label",
    "over": "loader",
}
TABLE = "nn.Embedding(900, 8)"
WEIGHTS = "item_weights = torch.bincount(items)[items].double().pow(-0.3)\n    "
SAMPLER = "sampler=torch.utils.data.WeightedRandomSampler(item_weights, len(item_weights))"


def weigh(bench: Bench, power: object = 0.3, **parts: str) -> tuple[str, ProposedFix]:
    text = TEXT.format(**{**PARTS, **parts})
    path = bench.write("a.py", text)
    site = [bench.frame(path, TABLE, "MF.__init__")]
    return text, bench.one("inverse-frequency-weights", site=site, power=power)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"target": "step, (user, item, label)", "over": "enumerate(loader)"},
        {"loader": "DataLoader(\n        data,\n        shuffle=True,  # all\n    )"},
    ],
)
def test_a_sampler_that_knows_the_items_takes_the_place_of_shuffling(
    bench: Bench, parts: dict[str, str]
) -> None:
    text, fix = weigh(bench, **parts)
    expected = text.replace("    loader = ", f"    {WEIGHTS}loader = ").replace(
        "shuffle=True", SAMPLER
    )
    assert bench.make(fix) == {"a.py": expected}


def test_a_column_that_is_computed_is_computed_again(bench: Bench) -> None:
    _, fix = weigh(bench, data="TensorDataset(train[:, 0], train[:, 1])", target="user, item")
    assert "torch.bincount(train[:, 1])[train[:, 1]]" in bench.make(fix)["a.py"]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"loader": "DataLoader(data)"}, "the DataLoader on line 15 is not given shuffle=True"),
        ({"loader": "DataLoader(data, sampler=s)"}, "has a sampler of its own"),
        ({"loader": "make(data)"}, "expected one DataLoader that shuffles, found 0"),
        ({"data": "Clicks(users, items)"}, "is not given a TensorDataset"),
        ({"target": "batch"}, "which column of the data on line 15 holds the items"),
        ({"over": "other"}, "which column of the data on line 15 holds the items"),
    ],
)
def test_what_cannot_be_weighted_says_why(bench: Bench, parts: dict[str, str], reason: str) -> None:
    _, fix = weigh(bench, **parts)
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


@pytest.mark.parametrize("power", [None, 0, 1.5, True, "1"])
def test_an_offer_without_a_power_is_refused(bench: Bench, power: object) -> None:
    _, fix = weigh(bench, power)
    assert fix.disabled_reason is not None and "expected the power" in fix.disabled_reason


def test_a_finding_is_addressed_once_a_weighted_sampler_stands_there(bench: Bench) -> None:
    _, fix = weigh(bench)
    path = bench.root / "a.py"
    offer = FixOffer(fix="inverse-frequency-weights", parameters={"power": 0.3})
    diagnosis = bench.diagnosis(site=[bench.frame(path, TABLE, "MF.__init__")], fixes=[offer])
    assert not addressed(FixContext(diagnosis, None, bench.frames))
    bench.write("a.py", bench.make(fix)["a.py"])
    assert addressed(FixContext(diagnosis, None, bench.frames))
