from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MODEL = """\
class MF(nn.Module):
    def __init__(self, rows):
        self.item_emb = {table}
    def forward(self, ids):
        return {use}
"""
TABLE = "nn.Embedding(5000, 8)"
USE = "self.item_emb(ids)"


def shrink(
    bench: Bench, table: str = TABLE, use: str = USE, rows: object = 1200
) -> tuple[str, ProposedFix]:
    text = MODEL.format(table=table, use=use)
    path = bench.write("a.py", text)
    site = [bench.frame(path, table, "MF.__init__")]
    return text, bench.one("shrink-table", site=site, num_embeddings=rows)


@pytest.mark.parametrize(
    ("table", "after"),
    [
        (TABLE, "nn.Embedding(1200, 8)"),
        ("nn.Embedding(num_embeddings=rows, embedding_dim=8)", "num_embeddings=min(rows, 1200)"),
        ("nn.Embedding(rows + 1, 8, padding_idx=0)", "nn.Embedding(min(rows + 1, 1200), 8"),
        ("nn.EmbeddingBag(\n            5_000,  # all\n            8,\n        )", "1200,  # all"),
    ],
)
def test_the_rows_are_bounded_and_the_ids_folded(bench: Bench, table: str, after: str) -> None:
    text, fix = shrink(bench, table)
    made = bench.make(fix)["a.py"]
    assert after in made
    assert "self.item_emb(ids % self.item_emb.num_embeddings)" in made
    kept = made.replace(" % self.item_emb.num_embeddings", "").replace("1200", "5000")
    assert len(kept.splitlines()) == len(text.splitlines())
    assert fix.title.endswith("and fold the ids of one look-up into it")


@pytest.mark.parametrize(
    ("ids", "folded"),
    [
        ("batch['item']", "batch['item'] % "),
        ("a + b", "(a + b) % "),
        ("x if y else z", "(x if y else z) % "),
        ("(a, b)", "((a, b)) % "),
        ("input=ids", "input=ids % "),
        ("ids, offsets", "ids % self.item_emb.num_embeddings, offsets"),
    ],
)
def test_what_is_looked_up_is_folded_whatever_it_is(bench: Bench, ids: str, folded: str) -> None:
    _, fix = shrink(bench, use=f"self.item_emb({ids})")
    assert f"self.item_emb({folded}" in bench.make(fix)["a.py"]


def test_ids_that_are_folded_already_are_left_alone(bench: Bench) -> None:
    use = "self.item_emb(ids % self.item_emb.num_embeddings)"
    text, fix = shrink(bench, use=use)
    assert bench.make(fix) == {"a.py": text.replace("5000", "1200")}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use": "ids @ self.item_emb.weight.T"}, "whole weight, which would be shorter, is used"),
        ({"use": "helper(self.item_emb, ids)"}, "the table is handed on on line 5 of a.py"),
        ({"use": "ids"}, "where the table is looked up cannot be read"),
        ({"use": "self.item_emb(*ids)"}, "what is looked up on line 5 of a.py cannot be read"),
        ({"table": "nn.Embedding(5000, 8, padding_idx=4999)"}, "padding_idx is 4999"),
        ({"table": "nn.Embedding(5000, 8, padding_idx=-1)"}, "padding_idx is -1"),
        ({"table": "nn.Embedding(*sizes)"}, "num_embeddings is not passed"),
        ({"rows": 0}, "expected the num_embeddings to set, at least 1, got 0"),
        ({"rows": True}, "expected the num_embeddings to set"),
        ({"table": "nn.Embedding(900, 8)"}, "the table has at most 900 rows already"),
        ({"table": "nn.Embedding(min(n, 1200), 8)"}, "the table has at most 1200 rows already"),
    ],
)
def test_a_table_that_cannot_be_shrunk_says_why(
    bench: Bench, change: dict[str, str], reason: str
) -> None:
    _, fix = shrink(bench, **change)
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


def test_a_finding_is_addressed_once_the_table_is_as_small(bench: Bench) -> None:
    offer = FixOffer(fix="shrink-table", parameters={"num_embeddings": 1200})
    _, fix = shrink(bench)
    path = bench.root / "a.py"
    frame = bench.frame(path, TABLE, "MF.__init__")
    diagnosis = bench.diagnosis(site=[frame], fixes=[offer])
    assert not addressed(FixContext(diagnosis, None, bench.frames))
    bench.write("a.py", bench.make(fix)["a.py"])
    assert addressed(FixContext(diagnosis, None, bench.frames))
