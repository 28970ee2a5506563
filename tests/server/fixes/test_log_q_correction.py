from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

TEXT = """\
import torch, gradtracer
import torch.nn.functional as F
from torch import nn

class Tower(nn.Module):
    def __init__(self):
        self.item_emb = nn.Embedding(900, 8)
        self.fc = nn.Linear(8, 8)
    def forward(self, ids):
        return self.fc(self.item_emb(ids))
    def embed(self, ids, scale=1):
        return scale * self.item_emb(ids)

class Two(nn.Module):
    def __init__(self):
        self.items = Tower()
    def forward(self, users, positives):
        v = F.normalize(self.items(positives), dim=-1)
        return users, v

def train(model, users, items):
    {body}
"""
MODEL = "model = Tower()\n    "
TABLE = "nn.Embedding(900, 8)"
DIAGONAL = "loss = F.cross_entropy(logits, torch.arange(len(items)))"


def correct(bench: Bench, body: str, text: str = TEXT) -> tuple[str, ProposedFix]:
    text = text.replace("{body}", body)
    path = bench.write("a.py", text)
    site = [bench.frame(path, TABLE, "Tower.__init__")]
    return text, bench.one("log-q-correction", site=site)


@pytest.mark.parametrize(
    ("body", "before", "after"),
    [
        (
            f"logits = users @ model.item_emb(items).T\n    {DIAGONAL}",
            "F.cross_entropy(logits,",
            "F.cross_entropy(logits - gradtracer.log_q(model.item_emb, items),",
        ),
        (
            f"v = model.embed(items)\n    logits = users @ v.t() / 0.1\n    {DIAGONAL}",
            "F.cross_entropy(logits,",
            "F.cross_entropy(logits - gradtracer.log_q(model.item_emb, items),",
        ),
        (
            f"{MODEL}v = model(items)\n    logits = torch.matmul(users, v.T)\n    {DIAGONAL}",
            "F.cross_entropy(logits,",
            "F.cross_entropy(logits - gradtracer.log_q(model.item_emb, items),",
        ),
        (
            "labels = torch.arange(8)\n    loss = nn.CrossEntropyLoss()\n    "
            "loss(users @ model.item_emb(items['id']).T / t, labels)",
            "/ t, labels",
            "/ t - gradtracer.log_q(model.item_emb, items['id']), labels",
        ),
    ],
)
def test_log_q_of_the_columns_is_subtracted_from_the_logits(
    bench: Bench, body: str, before: str, after: str
) -> None:
    text, fix = correct(bench, body)
    assert text.count(before) == 1
    assert bench.make(fix) == {"a.py": text.replace(before, after)}


def test_a_tower_is_followed_to_what_it_looks_up(bench: Bench) -> None:
    text = TEXT.replace(
        "return users, v", "return F.cross_entropy(users @ v.T, torch.arange(len(v)))"
    )
    text, fix = correct(bench, "pass", text)
    assert bench.make(fix) == {
        "a.py": text.replace(
            "users @ v.T", "users @ v.T - gradtracer.log_q(self.items.item_emb, positives)"
        )
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("loss = F.cross_entropy(logits, labels)", "no in-batch softmax was found"),
        ("loss = F.binary_cross_entropy(logits, torch.arange(3))", "no in-batch softmax was"),
        (f"logits = make(users)\n    {DIAGONAL}", "which items the columns of the logits on line"),
        (f"logits = users @ other(items).T\n    {DIAGONAL}", "which items the columns"),
        (f"{DIAGONAL}; {DIAGONAL}", "several in-batch softmaxes were found, on lines 22, 22"),
        (
            f"logits = users @ v.T - gradtracer.log_q(e, items)\n    {DIAGONAL}",
            "log Q is subtracted from the logits on line 23 already",
        ),
    ],
)
def test_what_cannot_be_corrected_says_why(bench: Bench, body: str, reason: str) -> None:
    _, fix = correct(bench, body)
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


def test_a_finding_is_addressed_once_the_logits_are_corrected(bench: Bench) -> None:
    _, fix = correct(bench, f"logits = users @ model.item_emb(items).T\n    {DIAGONAL}")
    path = bench.root / "a.py"
    diagnosis = bench.diagnosis(
        site=[bench.frame(path, TABLE, "Tower.__init__")], fixes=[FixOffer(fix="log-q-correction")]
    )
    assert not addressed(FixContext(diagnosis, None, bench.frames))
    bench.write("a.py", bench.make(fix)["a.py"])
    assert addressed(FixContext(diagnosis, None, bench.frames))
