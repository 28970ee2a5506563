from __future__ import annotations

import ast

import msgspec
import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext
from gradtracer_server.fixes.registry import addressed
from gradtracer_server.source.index import SourceText


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("watch(model)", "watch(model, auto_fix=True)"),
        ("gradtracer.watch(m, optimizer=o)", "gradtracer.watch(m, optimizer=o, auto_fix=True)"),
        ("watch(model,)", "watch(model, auto_fix=True,)"),
        ("watch()", "watch(auto_fix=True)"),
        ("watch(  # nothing\n)", "watch(  # nothing\nauto_fix=True)"),
        ("watch(model, auto_fix=False)", "watch(model, auto_fix=True)"),
        ("watch(*models)", "watch(*models, auto_fix=True)"),
        (
            "watch(\n    model,\n    optimizer=opt,\n)",
            "watch(\n    model,\n    optimizer=opt,\n    auto_fix=True,\n)",
        ),
        (
            "watch(\n    model,\n    optimizer=opt,  # adam\n    # end\n)",
            "watch(\n    model,\n    optimizer=opt,  # adam\n    auto_fix=True,\n    # end\n)",
        ),
        (
            "watch(\n\tmodel,\n\toptimizer=opt  # adam\n)",
            "watch(\n\tmodel,\n\toptimizer=opt,  # adam\n\tauto_fix=True\n)",
        ),
        ("watch(\n    model\n)", "watch(\n    model,\n    auto_fix=True\n)"),
        ("watch(\r\n    model,\r\n)", "watch(\r\n    model,\r\n    auto_fix=True,\r\n)"),
        ("watch(model,\n      opt)", "watch(model,\n      opt, auto_fix=True)"),
        ("watch(\n    model, opt\n)", "watch(\n    model, opt, auto_fix=True\n)"),
        ("watch(\n    model, opt,\n)", "watch(\n    model, opt, auto_fix=True,\n)"),
        (
            "watch(\n    dict(\n        a=1,\n    ),\n)",
            "watch(\n    dict(\n        a=1,\n    ),\n    auto_fix=True,\n)",
        ),
        ("EmbeddingTracker(é.item_emb)", "EmbeddingTracker(é.item_emb, auto_fix=True)"),
        ("EmbeddingTracker(m.item_emb, 'i', False)", "EmbeddingTracker(m.item_emb, 'i', True)"),
        (
            "EmbeddingTracker(m.item_emb, auto_fix=False, track_interval=100)",
            "EmbeddingTracker(m.item_emb, auto_fix=True, track_interval=100)",
        ),
    ],
)
def test_auto_fix_is_turned_on_in_the_recorded_call(bench: Bench, before: str, after: str) -> None:
    text = f"é = 1\nrun = {before}  # run\nother = watch(model)\n"
    path = bench.write("train.py", text)
    fix = bench.one("enable-auto-fix", watch=[bench.frame(path, before)])
    made = bench.make(fix)["train.py"]
    assert made == text.replace(before, after, 1)
    ast.parse(made)
    assert fix.preferred
    assert fix.title.endswith("on line 2")


def test_a_call_that_is_a_statement_of_its_own_is_found(bench: Bench) -> None:
    path = bench.write("train.py", "gradtracer.watch(model)\n")
    frame = bench.frame(path, "gradtracer.watch(model)")
    fix = bench.one("enable-auto-fix", watch=[msgspec.structs.replace(frame, expression="")])
    assert bench.make(fix) == {"train.py": "gradtracer.watch(model, auto_fix=True)\n"}


def test_a_call_under_another_name_is_found(bench: Bench) -> None:
    path = bench.write("train.py", "from gradtracer import watch as observe\nobserve(model)\n")
    fix = bench.one("enable-auto-fix", watch=[bench.frame(path, "observe(model)")])
    assert "observe(model, auto_fix=True)" in bench.make(fix)["train.py"]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("watch(model, auto_fix=True)", "already True"),
        ("watch(model, auto_fix=args.fix)", "given as args.fix"),
        ("watch(model, **settings)", "unpacks its arguments"),
        ("EmbeddingTracker(*tables)", "unpacks its arguments"),
        ("watch(m for m in models)", "cannot be read"),
        ("start(model)", "no longer where it was"),
    ],
)
def test_a_call_that_cannot_be_edited_says_why(bench: Bench, call: str, reason: str) -> None:
    path = bench.write("train.py", f"run = {call}\n")
    fix = bench.one("enable-auto-fix", watch=[bench.frame(path, call)])
    assert fix.disabled_reason is not None and reason in fix.disabled_reason
    assert fix.edits() == {}


def test_a_call_that_has_it_on_already_is_told_from_one_that_cannot_be_edited(
    bench: Bench,
) -> None:
    offers = [FixOffer(fix="enable-auto-fix")]
    for call, on in (
        ("watch(model, auto_fix=True)", True),
        ("EmbeddingTracker(m.item_emb, 'i', True)", True),
        ("watch(model, auto_fix=False)", False),
        ("watch(model, auto_fix=fix)", False),
        ("start(model, auto_fix=True)", False),
    ):
        path = bench.write("train.py", f"run = {call}\n")
        diagnosis = bench.diagnosis(watch=[bench.frame(path, call)], fixes=offers)
        assert addressed(FixContext(diagnosis, None, bench.frames)) is on, call


def test_a_run_without_a_call_is_told_of_the_setting(bench: Bench) -> None:
    fix = bench.one("enable-auto-fix")
    assert fix.disabled_reason is not None and "pyproject.toml" in fix.disabled_reason


def test_a_call_that_has_gone_is_not_edited(bench: Bench) -> None:
    path = bench.write("train.py", "run = watch(model)\n")
    frame = bench.frame(path, "watch(model)")
    bench.write("train.py", "model.fit()\n")
    fix = bench.one("enable-auto-fix", watch=[frame])
    assert fix.disabled_reason is not None and "no longer" in fix.disabled_reason


def test_the_result_has_no_syntax_error(bench: Bench) -> None:
    call = "watch(\n    model,  # (\n    optimizer=opt,\n)"
    path = bench.write("train.py", f"if True:\n    run = {call}\n")
    fix = bench.one("enable-auto-fix", watch=[bench.frame(path, call)])
    assert not SourceText.parse(bench.make(fix)["train.py"]).broken
