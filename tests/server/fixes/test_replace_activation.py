from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MODEL = """\
import torch
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self):
        {layer}
    def forward(self, x):
        {forward}
        return x
"""


def replace(
    bench: Bench,
    layer: str,
    call: str,
    forward: str = "pass",
    to: object = "LeakyReLU",
    attribute: str = "fc",
) -> tuple[str, ProposedFix]:
    text = MODEL.format(layer=layer, forward=forward)
    path = bench.write("a.py", text)
    site = [bench.frame(path, call, "Net.__init__")]
    return text, bench.one("replace-activation", site=site, attribute=attribute, to=to)


@pytest.mark.parametrize(
    ("before", "after", "to"),
    [
        ("nn.ReLU()", "nn.LeakyReLU()", "LeakyReLU"),
        ("nn.ReLU(True)", "nn.LeakyReLU(inplace=True)", "LeakyReLU"),
        ("nn.ReLU(inplace=True)", "nn.SiLU(inplace=True)", "SiLU"),
        ("nn.ReLU(inplace=True)", "nn.GELU()", "GELU"),
        ("torch.nn.ReLU(True)", "torch.nn.PReLU()", "PReLU"),
    ],
)
def test_a_module_is_replaced(bench: Bench, before: str, after: str, to: str) -> None:
    text, fix = replace(bench, f"self.act = {before}", before, to=to, attribute="act")
    assert bench.make(fix) == {"a.py": text.replace(before, after)}
    assert fix.title == f"Replace the ReLU on line 7 by {to}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = F.relu(self.fc(x))", "x = F.leaky_relu(self.fc(x))"),
        ("x = F.relu(self.fc(x), True)", "x = F.leaky_relu(self.fc(x), inplace=True)"),
        ("x = torch.relu(self.fc(x))", "x = F.leaky_relu(self.fc(x))"),
        ("x = self.fc(x).relu()", "x = F.leaky_relu(self.fc(x))"),
        ("x = F.relu(self.bn(self.fc(x)))", "x = F.leaky_relu(self.bn(self.fc(x)))"),
        ("y = self.fc(x)\n        x = F.relu(y)", "y = self.fc(x)\n        x = F.leaky_relu(y)"),
        (
            "y = self.fc(x)  # é\n        return y.relu()",
            "y = self.fc(x)  # é\n        return F.leaky_relu(y)",
        ),
    ],
)
def test_the_function_that_takes_what_the_layer_puts_out_is_replaced(
    bench: Bench, before: str, after: str
) -> None:
    text, fix = replace(bench, "self.fc = nn.Linear(2, 2)", "nn.Linear(2, 2)", before)
    assert bench.make(fix) == {"a.py": text.replace(before, after)}


def test_the_next_of_a_sequence_is_replaced_past_a_normalisation(bench: Bench) -> None:
    layer = (
        "self.mlp = nn.Sequential(\n"
        "            nn.Linear(2, 3),  # in\n"
        "            nn.BatchNorm1d(3),\n"
        "            nn.ReLU(),\n"
        "            nn.Linear(3, 1), nn.ReLU(),\n        )"
    )
    text, fix = replace(bench, layer, "nn.Linear(2, 3)", attribute="mlp.0")
    assert bench.make(fix) == {"a.py": text.replace("nn.ReLU()", "nn.LeakyReLU()", 1)}


@pytest.mark.parametrize(
    "lines",
    [
        ["layers.append(nn.Linear(2, 3))", "layers.append(nn.ReLU())"],
        ["layers.append(nn.Linear(2, 3))", "width = 3", "# then", "layers.append(nn.ReLU())"],
        [
            "layers.append(nn.Linear(2, 3))",
            "if norm:",
            "    layers.append(nn.BatchNorm1d(3))",
            "layers += [nn.ReLU(), nn.Dropout(0.1)]",
        ],
        ["layers.append(nn.Linear(2, 3))", "if last:", "    layers.append(nn.ReLU())"],
        ["layers += [nn.Linear(2, 3)]", "layers.extend([nn.ReLU()])"],
        ["self.add_module('fc', nn.Linear(2, 3))", "self.add_module('act', nn.ReLU())"],
        ["self.blocks.append(nn.Linear(2, 3))", "self.blocks.append(nn.ReLU())"],
        ["x = OrderedDict([('fc', nn.Linear(2, 3)), ('act', nn.ReLU())])"],
        ["x = nn.ModuleDict({'fc': nn.Linear(2, 3), 'act': nn.ReLU()})"],
    ],
)
def test_what_is_put_into_the_same_container_next_is_replaced(
    bench: Bench, lines: list[str]
) -> None:
    layer = "\n            ".join(["for each in range(2):", *lines])
    text, fix = replace(bench, layer, "nn.Linear(2, 3)", attribute="mlp.0")
    assert fix.disabled_reason is None
    assert bench.make(fix) == {"a.py": text.replace("nn.ReLU()", "nn.LeakyReLU()")}


@pytest.mark.parametrize(
    "lines",
    [
        ["layers.append(nn.Linear(2, 3))", "others.append(nn.ReLU())"],
        ["layers.append(nn.Linear(2, 3))", "layers.append(act)", "layers.append(nn.ReLU())"],
        ["layers.append(nn.Linear(2, 3))", "layers = []", "layers.append(nn.ReLU())"],
        ["layers += [nn.Linear(2, 3), *more]", "layers.append(nn.ReLU())"],
        [
            "layers.append(nn.Linear(2, 3))",
            "if a:",
            "    layers.append(nn.Tanh())",
            "else:",
            "    layers.append(nn.ReLU())",
        ],
        ["if a:", "    layers.append(nn.Linear(2, 3))", "layers.append(nn.ReLU())"],
        ["x = (nn.Linear(2, 3), [nn.ReLU()])"],
    ],
)
def test_what_may_not_come_next_is_left(bench: Bench, lines: list[str]) -> None:
    layer = "\n            ".join(["for each in range(2):", *lines])
    _, fix = replace(bench, layer, "nn.Linear(2, 3)", attribute="mlp.0")
    assert fix.disabled_reason is not None and "into no ReLU" in fix.disabled_reason


@pytest.mark.parametrize(
    ("call", "after", "to"),
    [
        ("MLPLayers(s, 0.1, 'relu')", "MLPLayers(s, 0.1, 'leakyrelu')", "LeakyReLU"),
        ('DNN(4, (2,), activation="relu")', 'DNN(4, (2,), activation="prelu")', "PReLU"),
        (
            'nn.TransformerEncoderLayer(8, 2, activation="relu")',
            'nn.TransformerEncoderLayer(8, 2, activation="gelu")',
            "GELU",
        ),
    ],
)
def test_a_factory_is_told_by_the_name_it_knows(
    bench: Bench, call: str, after: str, to: str
) -> None:
    text, fix = replace(bench, f"self.fc = {call}", call, to=to)
    assert bench.make(fix) == {"a.py": text.replace(call, after)}


@pytest.mark.parametrize(
    ("layer", "call", "forward", "to", "reason"),
    [
        ("self.fc = nn.Linear(2, 2)", "nn.Linear(2, 2)", "x = self.fc(x)", "GELU", "into no ReLU"),
        (
            "self.fc = nn.Linear(2, 2)",
            "nn.Linear(2, 2)",
            "x = F.relu(self.fc(F.relu(self.fc(x))))",
            "GELU",
            "in several places, on lines 9, 9",
        ),
        (
            "self.fc = nn.Linear(2, 2)",
            "nn.Linear(2, 2)",
            "x = F.relu(self.fc(x))",
            "PReLU",
            "has weights of its own and is no function",
        ),
        (
            "self.fc = nn.TransformerEncoderLayer(8, 2, activation='relu')",
            "nn.TransformerEncoderLayer(8, 2, activation='relu')",
            "pass",
            "LeakyReLU",
            "does not know LeakyReLU; it knows GELU",
        ),
        ("self.fc = nn.ReLU()", "nn.ReLU()", "pass", "Swish", "expected one of ELU, GELU"),
        ("self.fc = build()", "build()", "pass", "GELU", "what build on line 7 puts out"),
    ],
)
def test_what_cannot_be_replaced_says_why(
    bench: Bench, layer: str, call: str, forward: str, to: str, reason: str
) -> None:
    _, fix = replace(bench, layer, call, forward, to)
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


@pytest.mark.parametrize(
    ("old", "before", "after"),
    [
        ("Tanh", "x = torch.tanh(self.fc(x))", "x = F.gelu(self.fc(x))"),
        ("Sigmoid", "x = F.sigmoid(self.fc(x))", "x = F.gelu(self.fc(x))"),
        ("Hardtanh", "x = F.hardtanh(self.fc(x), -2.0, 2.0)", "x = F.gelu(self.fc(x))"),
        ("Sigmoid", "x = self.fc(x).sigmoid()", "x = F.gelu(self.fc(x))"),
    ],
)
def test_the_activation_that_an_offer_names_is_replaced(
    bench: Bench, old: str, before: str, after: str
) -> None:
    layer = "self.fc = nn.Linear(2, 2)"
    text = MODEL.format(layer=layer, forward=before)
    path = bench.write("a.py", text)
    site = [bench.frame(path, "nn.Linear(2, 2)", "Net.__init__")]
    how = {"from": old, "to": "GELU"}
    fix = bench.one("replace-activation", site=site, attribute="fc", **how)
    assert bench.make(fix) == {"a.py": text.replace(before, after)}
    assert fix.title == f"Replace the {old} on line 9 by GELU"
    other = bench.one("replace-activation", site=site, attribute="fc", to="GELU")
    assert other.disabled_reason is not None and "goes into no ReLU" in other.disabled_reason


def test_a_module_with_limits_of_its_own_leaves_them(bench: Bench) -> None:
    text = MODEL.format(layer="self.mlp = [nn.Linear(2, 2), nn.Hardtanh(-2, 2)]", forward="pass")
    path = bench.write("a.py", text)
    site = [bench.frame(path, "nn.Linear(2, 2)", "Net.__init__")]
    fix = bench.one(
        "replace-activation", site=site, attribute="mlp.0", **{"from": "Hardtanh", "to": "GELU"}
    )
    assert bench.make(fix) == {"a.py": text.replace("nn.Hardtanh(-2, 2)", "nn.GELU()")}


@pytest.mark.parametrize(
    ("forward", "is_addressed"),
    [("x = F.relu(self.fc(x))", False), ("x = F.leaky_relu(self.fc(x))", True)],
)
def test_a_finding_is_addressed_once_another_activation_stands_there(
    bench: Bench, forward: str, is_addressed: bool
) -> None:
    path = bench.write("a.py", MODEL.format(layer="self.fc = nn.Linear(2, 2)", forward=forward))
    diagnosis = bench.diagnosis(
        site=[bench.frame(path, "nn.Linear(2, 2)", "Net.__init__")],
        fixes=[FixOffer(fix="replace-activation", parameters={"to": "LeakyReLU"})],
        attribute="fc",
    )
    assert addressed(FixContext(diagnosis, None, bench.frames)) is is_addressed
