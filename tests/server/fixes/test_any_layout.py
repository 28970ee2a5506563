"""However a file is laid out, a fix leaves it Python, and alone every byte it does not edit."""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fix_bench import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradtracer_schemas import SourceFrame
from gradtracer_server.fixes.proposal import ProposedFix
from gradtracer_server.source.edits import TextEdit, apply_edits
from gradtracer_server.source.index import SourceText

HEADS = ["", "# -*- coding: utf-8 -*-\n", '"""Dök."""\n', "from __future__ import annotations\n"]
IMPORTS = [
    "import torch\nfrom torch import nn\n",
    "import torch as th, os\nimport torch.nn as nn\n",
    "from torch import (\n    nn,  # é\n    optim,\n)\n",
    "import os; from torch import nn\n",
    "try:\n    import torch\nexcept ImportError:\n    pass\nfrom torch import nn\n",
    "from torch.optim import Adam\nfrom torch import nn\n",
]
DECORATORS = ["", "@register\n", "@register(name='é', of=[1, (2)])\n"]
TABLES = [
    "nn.Embedding(ROWS, 64)",
    "nn.Embedding(\n            ROWS,  # é (\n            64  # wide\n        )",
    "nn.Embedding((5_000), (64),)",
    "nn.Embedding(num_embeddings=5000, embedding_dim=64, padding_idx=0)",
    "nn.Embedding(5000, \\\n            64)",
    "nn.Embedding(\n            # one\n            5000,\n            embedding_dim=64,\n        )",
    "nn.Embedding(5000, 64, sparse=False)",
    "nn.Embedding(max(ROWS, len('naïve')), (w := 64))",
]
LOOK_UPS = [
    "self.item_emb(ids)",
    "self.item_emb((n := ids) + 1)",
    "self.item_emb(\n            ids  # é\n        )",
    "self.item_emb(input=ids['ключ'])",
    "self.item_emb(ids if ids is not None else \\\n            0)",
]
RELUS = [
    "torch.relu(self.fc(x))",
    "nn.functional.relu(self.fc(x), inplace=True)",
    "(self.fc(x)).relu()",
    "self.fc(x).relu()",
    "nn.functional.relu(  # é\n            self.fc(\n                x\n            ),\n        )",
]
OPTIMIZERS = [
    "Adam(model.parameters(), lr=1e-2, weight_decay=1e-3)",
    "Adam(\n        model.parameters(),  # все\n        1e-2,\n        weight_decay=.001,\n    )",
    "Adam(params=model.parameters(), lr=(RATE), weight_decay=RATE)",
    "Adam(model\n         .parameters())",
    "Adam([{'params': model.item_emb.parameters(), 'lr': RATE}], lr=1)",
    "SGD(model.parameters(), \\\n        lr=RATE, momentum=.9)",
]
STEPS = [
    "optimizer.step()",
    "optimizer.step()  # é",
    "if (k := ids): optimizer.step()",
    "loss = 1; optimizer.step(); k = 2",
    "(\n            optimizer\n            .step()\n        )",
    "with scope() as ü: optimizer.step()",
    "optimizer. \\\n            step()",
]
TEXT = """\
{head}{imports}
ROWS = 5000
RATE = 1e-2

{decorator}class Net(nn.Module):
    \"\"\"Ein Netz — 网络 𝔵.\"\"\"
    def __init__(self):
        super().__init__(); self.name = "𝔵"
        self.item_emb = {table}
        self.fc = nn.Linear(64, 1)

    def forward(self, ids, *, x=None):
        x = {look_up}
        return {relu}

def main():
    model = Net()
    optimizer = {optimizer}
    run = gradtracer.watch(model, optimizer=optimizer)
    for ids in loader:
        optimizer.zero_grad()
        {step}
"""
FIXES: list[tuple[str, str, dict[str, Any]]] = [
    ("reduce-learning-rate", "item_emb", {"lr": 1e-4}),
    ("reduce-learning-rate", "item_emb", {"lr": 1e-4, "parameters": "item_emb.weight"}),
    ("raise-learning-rate", "item_emb", {"lr": 0.1}),
    ("raise-learning-rate", "item_emb", {"lr": 0.1, "parameters": "item_emb.weight"}),
    ("reduce-weight-decay", "item_emb", {"weight_decay": 1e-5}),
    ("set-weight-decay", "item_emb", {"weight_decay": 0.2}),
    ("reduce-embedding-dim", "item_emb", {"embedding_dim": 8}),
    ("clip-gradients", "item_emb", {"max_norm": 1.0}),
    ("replace-activation", "fc", {"to": "LeakyReLU"}),
    ("sparse-gradients", "item_emb", {}),
    ("shrink-table", "item_emb", {"num_embeddings": 40}),
    ("enable-auto-fix", "item_emb", {}),
    ("suppress", "item_emb", {}),
]


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A script, and the calls in it by what they are."""
    parts = {
        name: draw(st.sampled_from(options))
        for name, options in (
            ("head", HEADS),
            ("imports", IMPORTS),
            ("decorator", DECORATORS),
            ("table", TABLES),
            ("look_up", LOOK_UPS),
            ("relu", RELUS),
            ("optimizer", OPTIMIZERS),
            ("step", STEPS),
        )
    }
    text = TEXT.format(**parts)
    if draw(st.booleans()):
        text = text.replace("    ", "\t")
        parts = {name: part.replace("    ", "\t") for name, part in parts.items()}
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
        parts = {name: part.replace("\n", "\r\n") for name, part in parts.items()}
    mark = draw(st.sampled_from(["", "\ufeff"]))
    if draw(st.booleans()):
        text = text.rstrip()
    return mark + text, parts


def frame_of(path: Path, text: str, wanted: str, scope: str) -> SourceFrame:
    """The frame of the first call that begins so, as the interpreter sees it."""
    plain = text.removeprefix("\ufeff")
    simple = (
        node
        for node in ast.walk(ast.parse(plain))
        if isinstance(node, ast.stmt) and not getattr(node, "body", None)
    )
    for statement in simple:
        for call in ast.walk(statement):
            segment = ast.get_source_segment(plain, call) if isinstance(call, ast.Call) else None
            if segment and "".join(segment.replace("\\", "").split()).startswith(wanted):
                whole = ast.get_source_segment(plain, statement) or ""
                return SourceFrame(
                    file=str(path),
                    start_line=statement.lineno,
                    start_column=statement.col_offset,
                    end_line=statement.end_lineno or 0,
                    end_column=statement.end_col_offset or 0,
                    qualname=scope,
                    text=whole,
                    expression="" if segment == whole else segment,
                )
    raise AssertionError(f"{wanted} is not called")


def outside(text: str, edits: list[TextEdit]) -> list[str]:
    """The pieces of a text between its edits."""
    source = SourceText.parse(text)
    places = sorted((source.offset(e.range.start), source.offset(e.range.end)) for e in edits)
    ends = [0, *(end for _, end in places)]
    starts = [*(start for start, _ in places), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True)]


def proposed_in(
    bench: Bench, fix: tuple[str, str, dict[str, Any]], text: str, optimizer: str
) -> ProposedFix:
    name, layer, parameters = fix
    path = bench.write("a.py", text)
    table = "nn.Embedding(" if layer == "item_emb" else "nn.Linear("
    built = optimizer.partition("(")[0]
    (proposed,) = bench.propose(
        name,
        site=[frame_of(path, text, table, "Net.__init__")],
        related={
            "optimizer": [frame_of(path, text, f"{built}(", "main")],
            "step": [frame_of(path, text, "optimizer.step(", "main")],
            "watch": [frame_of(path, text, "gradtracer.watch(", "main")],
        },
        attribute=layer,
        **parameters,
    )
    return proposed


def by_id(fix: tuple[str, str, dict[str, Any]]) -> str:
    return "-".join([fix[0], *sorted(fix[2])])


@pytest.mark.parametrize("fix", FIXES, ids=by_id)
def test_each_is_made_in_the_plainest_layout(
    bench: Bench, fix: tuple[str, str, dict[str, Any]]
) -> None:
    parts = {"head": HEADS[0], "imports": IMPORTS[0], "decorator": "", "table": TABLES[2]}
    decays = fix[0] != "set-weight-decay"
    optimizer = next(each for each in OPTIMIZERS if decays or "weight_decay" not in each)
    text = TEXT.format(
        **parts, look_up=LOOK_UPS[0], relu=RELUS[0], optimizer=optimizer, step=STEPS[0]
    )
    assert proposed_in(bench, fix, text, optimizer).disabled_reason is None


@pytest.mark.parametrize("fix", FIXES, ids=by_id)
@given(made=texts())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_result_parses_and_the_rest_is_the_same(
    fix: tuple[str, str, dict[str, Any]], made: tuple[str, dict[str, str]]
) -> None:
    text, parts = made
    with tempfile.TemporaryDirectory() as folder:
        proposed = proposed_in(Bench(Path(folder)), fix, text, parts["optimizer"])
        if proposed.disabled_reason is not None:
            assert proposed.disabled_reason.strip()
            return
        (edits,) = proposed.edits().values()
        after = apply_edits(text, edits)
    ast.parse(after.removeprefix("\ufeff"))
    assert after.startswith("\ufeff") == text.startswith("\ufeff")
    at = 0
    for piece in outside(text, edits):
        assert piece in after[at:]
        at = after.index(piece, at) + len(piece)
    if "\r\n" in text:
        assert "\n" not in after.replace("\r\n", "")
