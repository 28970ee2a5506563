from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MODEL = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, hidden):
        {layer}
    def forward(self, x):
        {forward}
        return x
"""


def inserted(
    bench: Bench, layer: str, call: str, forward: str = "pass", attribute: str = "fc"
) -> tuple[str, ProposedFix]:
    text = MODEL.format(layer=layer, forward=forward)
    path = bench.write("a.py", text)
    site = [bench.frame(path, call, "Net.__init__")]
    return text, bench.one("insert-normalisation", site=site, attribute=attribute)


@pytest.mark.parametrize(
    ("layer", "call", "after"),
    [
        (
            "self.mlp = nn.Sequential(nn.Linear(2, hidden), nn.Tanh())",
            "nn.Linear(2, hidden)",
            "self.mlp = nn.Sequential(nn.Linear(2, hidden), nn.LayerNorm(hidden), nn.Tanh())",
        ),
        (
            "self.mlp = nn.Sequential(\n            nn.Conv2d(3, 8, 3),  # é\n"
            "            nn.Tanh(),\n        )",
            "nn.Conv2d(3, 8, 3)",
            "self.mlp = nn.Sequential(\n            nn.Conv2d(3, 8, 3),  # é\n"
            "            nn.GroupNorm(1, 8),\n            nn.Tanh(),\n        )",
        ),
        (
            "self.fc = nn.Linear(2, out_features=2 * hidden)",
            "nn.Linear(2, out_features=2 * hidden)",
            "self.fc = nn.Sequential(nn.Linear(2, out_features=2 * hidden), "
            "nn.LayerNorm(2 * hidden))",
        ),
        (
            "layers.append(nn.Linear(2, hidden))  # é\n        layers.append(nn.Tanh())",
            "nn.Linear(2, hidden)",
            "layers.append(nn.Linear(2, hidden))  # é\n"
            "        layers.append(nn.LayerNorm(hidden))\n        layers.append(nn.Tanh())",
        ),
    ],
)
def test_a_normalisation_of_the_layers_width_goes_before_the_activation(
    bench: Bench, layer: str, call: str, after: str
) -> None:
    text, fix = inserted(bench, layer, call, "x = torch.tanh(self.fc(x))")
    assert bench.make(fix) == {"a.py": text.replace(layer, after)}
    assert fix.title.endswith(
        " after the layer on line " + str(6 + layer[: layer.index(call)].count("\n"))
    )


@pytest.mark.parametrize(
    ("layer", "call", "forward", "reason"),
    [
        ("self.fc = nn.GRU(2, 2)", "nn.GRU(2, 2)", "pass", "expected a call of Linear, Conv1d"),
        ("self.fc = nn.Linear(2, f(2))", "nn.Linear(2, f(2))", "pass", "not passed as a number"),
        ("a.append(nn.Linear(2, 2))", "nn.Linear(2, 2)", "pass", "neither followed by its"),
        (
            "a.append(nn.Linear(2, 2))\n        if bn:\n            a.append(nn.BatchNorm1d(2))",
            "nn.Linear(2, 2)",
            "pass",
            "BatchNorm1d may follow",
        ),
        (
            "self.fc = nn.Linear(2, 2)",
            "nn.Linear(2, 2)",
            "x = self.fc(x) + self.fc.bias",
            "parts of self.fc are used by name",
        ),
    ],
)
def test_where_none_can_be_put_it_says_why(
    bench: Bench, layer: str, call: str, forward: str, reason: str
) -> None:
    _, fix = inserted(bench, layer, call, forward)
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


@pytest.mark.parametrize(
    ("layer", "forward", "is_addressed"),
    [
        ("self.fc = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))", "pass", True),
        ("self.fc = nn.Linear(2, 2)", "x = torch.tanh(self.norm(self.fc(x)))", True),
        ("self.fc = nn.Linear(2, 2)", "x = torch.tanh(self.fc(x))", False),
    ],
)
def test_a_finding_is_addressed_once_the_layer_is_normalised(
    bench: Bench, layer: str, forward: str, is_addressed: bool
) -> None:
    path = bench.write("a.py", MODEL.format(layer=layer, forward=forward))
    offer = FixOffer(fix="insert-normalisation")
    diagnosis = bench.diagnosis(
        site=[bench.frame(path, "nn.Linear(2, 2)", "Net.__init__")], attribute="fc", fixes=[offer]
    )
    assert addressed(FixContext(diagnosis, None, bench.frames)) is is_addressed
