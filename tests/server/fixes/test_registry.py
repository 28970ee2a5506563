from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.exceptions import EditRefused
from gradtracer_server.fixes import registry, suppress
from gradtracer_server.fixes.proposal import FixContext, Plan
from gradtracer_server.source.edits import TextEdit
from gradtracer_server.source.index import Position, Range


def test_all_that_a_diagnosis_offers_comes_with_suppression_last(bench: Bench) -> None:
    path = bench.write("a.py", "e = nn.Embedding(9, 64)\nrun = watch(e)\n")
    proposed = bench.propose(
        None,
        site=[bench.frame(path, "nn.Embedding(9, 64)")],
        watch=[bench.frame(path, "watch(e)")],
        fixes=[
            FixOffer(fix="enable-auto-fix"),
            FixOffer(fix="from-a-newer-probe"),
            FixOffer(fix="reduce-embedding-dim", parameters={"embedding_dim": 8}, preferred=True),
        ],
    )
    assert [fix.name for fix in proposed] == ["reduce-embedding-dim", "enable-auto-fix", "suppress"]
    assert [fix.preferred for fix in proposed] == [True, False, False]
    assert not any(fix.rewrites for fix in proposed)
    assert all(fix.disabled_reason is None for fix in proposed)


def test_an_unknown_fix_is_left_out(bench: Bench) -> None:
    assert bench.propose("from-a-newer-probe") == []


def test_every_fix_has_a_name_of_its_own_file() -> None:
    for name, fix in registry.FIXES.items():
        assert fix.__name__.rpartition(".")[2] == name.replace("-", "_")  # type: ignore[attr-defined]


def test_edits_that_would_break_the_file_are_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.write("a.py", "e = f(1)\n")

    def breaking(context: FixContext) -> Plan:
        (_, source, _), *_ = bench.frames(context.diagnosis.site)
        where = Range(Position(0, 7), Position(0, 8))
        return Plan("Break it", {path: (source, [TextEdit(where, "")])})

    monkeypatch.setattr(suppress, "plan", breaking)
    fix = bench.one("suppress", site=[bench.frame(path, "f(1)")])
    assert fix.disabled_reason is None
    with pytest.raises(EditRefused):
        fix.edits()
