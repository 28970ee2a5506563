from __future__ import annotations

import msgspec
import pytest
from fix_bench import Bench

from gradtracer_schemas import Diagnosis, Evidence, FixOffer, SourceSite
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MAIN = """\
import torch, gradtracer

DECAY = 1e-4

def main(args):
    model = Model()
    {optimizer}
    run = gradtracer.watch(model, optimizer=optimizer)

parser.add_argument("--weight-decay", type=float, default=0.0001)
"""
WATCH = "gradtracer.watch(model, optimizer=optimizer)"


def lower(
    bench: Bench, text: str, *, watch: str = WATCH, scope: str = "main", to: object = 1e-5
) -> ProposedFix:
    path = bench.write("a.py", text)
    return bench.one(
        "reduce-weight-decay", watch=[bench.frame(path, watch, scope)], weight_decay=to
    )


@pytest.mark.parametrize(
    ("optimizer", "before", "after"),
    [
        ("optimizer = Adam(p, weight_decay=1e-4)", "weight_decay=1e-4", "weight_decay=1e-5"),
        ("optimizer = Adam(p, weight_decay=1)", "weight_decay=1)", "weight_decay=1e-5)"),
        ("optimizer = Adam(p, weight_decay=DECAY)", "DECAY = 1e-4", "DECAY = 1e-5"),
        (
            "optimizer = KINDS[args.kind](p, weight_decay=args.weight_decay)",
            "default=0.0001",
            "default=1e-5",
        ),
        (
            "optimizer = Adam(\n        p,\n        weight_decay=0.1,  # strong\n    )",
            "weight_decay=0.1,  # strong",
            "weight_decay=1e-5,  # strong",
        ),
    ],
)
def test_the_number_is_edited_where_it_stands_and_nothing_else(
    bench: Bench, optimizer: str, before: str, after: str
) -> None:
    text = MAIN.format(optimizer=optimizer)
    assert text.count(before) == 1
    assert bench.make(lower(bench, text)) == {"a.py": text.replace(before, after)}


def test_the_title_says_from_what_to_what_and_where(bench: Bench) -> None:
    text = MAIN.format(optimizer="optimizer = Adam(p, weight_decay=args.weight_decay)")
    assert lower(bench, text).title == (
        "Lower weight_decay from 0.0001 to 1e-5: default of --weight-decay on line 10"
    )


def test_an_optimizer_built_in_the_call_of_watch_is_found(bench: Bench) -> None:
    watch = "gradtracer.watch(model, Adam(p, weight_decay=0.1))"
    text = f"run = {watch}\n"
    fixed = bench.make(lower(bench, text, watch=watch, scope="<module>", to=0.01))
    assert fixed == {"a.py": text.replace("0.1", "0.01")}


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        ("optimizer = Adam(p)", "weight_decay is not passed by name on line 7"),
        ("optimizer = Adam(p, weight_decay=1e-6)", "weight_decay is 1e-06 already; try 1e-05"),
        ("optimizer = Adam(p, weight_decay=2 * x)", "the weight decay is given as 2 * x on line 7"),
        ("optimizer, other = make()", "where optimizer is built cannot be read"),
        ("pass", "where optimizer is built cannot be read"),
    ],
)
def test_what_cannot_be_followed_is_said(bench: Bench, optimizer: str, reason: str) -> None:
    fix = lower(bench, MAIN.format(optimizer=optimizer))
    assert fix.disabled_reason is not None
    assert reason in fix.disabled_reason


def test_without_an_optimizer_in_the_call_it_says_what_to_pass(bench: Bench) -> None:
    fix = lower(bench, "run = gradtracer.watch(m)\n", watch="gradtracer.watch(m)", scope="<module>")
    assert fix.disabled_reason == "watch is not given the optimizer; pass optimizer=optimizer"


@pytest.mark.parametrize("offered", [None, "1e-5", True, -1.0, float("nan")])
def test_an_offer_without_a_number_is_refused(bench: Bench, offered: object) -> None:
    fix = lower(bench, MAIN.format(optimizer="optimizer = Adam(p, weight_decay=1)"), to=offered)
    assert fix.disabled_reason is not None
    assert "expected the weight_decay to try, at least 0" in fix.disabled_reason


@pytest.mark.parametrize(("decay", "is_addressed"), [("1e-4", False), ("1e-5", True), ("0", True)])
def test_a_finding_is_addressed_once_the_text_says_what_the_fix_would_write(
    bench: Bench, finding: Diagnosis, decay: str, is_addressed: bool
) -> None:
    path = bench.write("a.py", MAIN.format(optimizer=f"optimizer = Adam(p, weight_decay={decay})"))
    watch = SourceSite(frames=[bench.frame(path, WATCH, "main")])
    diagnosis = _with(finding, watch, FixOffer(fix="reduce-weight-decay", parameters=TO))
    assert addressed(FixContext(diagnosis, None, bench.frames)) is is_addressed


@pytest.mark.parametrize(("decay", "is_addressed"), [("1e-4", False), ("5e-5", True)])
def test_any_edit_below_what_the_run_had_addresses_it_though_the_advice_changed_since(
    bench: Bench, finding: Diagnosis, decay: str, is_addressed: bool
) -> None:
    path = bench.write("a.py", MAIN.format(optimizer=f"optimizer = Adam(p, weight_decay={decay})"))
    watch = SourceSite(frames=[bench.frame(path, WATCH, "main")])
    parameters = {**TO, "measured_decay": 1e-4}
    diagnosis = _with(finding, watch, FixOffer(fix="reduce-weight-decay", parameters=parameters))
    assert addressed(FixContext(diagnosis, None, bench.frames)) is is_addressed


def test_a_fix_that_does_not_apply_addresses_nothing(bench: Bench, finding: Diagnosis) -> None:
    path = bench.write("a.py", MAIN.format(optimizer="optimizer = Adam(p, auto_fix=True)"))
    watch = SourceSite(frames=[bench.frame(path, WATCH, "main")])
    offers = [FixOffer(fix="reduce-weight-decay", parameters=TO), FixOffer(fix="suppress")]
    diagnosis = _with(finding, watch, *offers)
    assert not addressed(FixContext(diagnosis, None, bench.frames))


TO = {"weight_decay": 1e-5}


def _with(finding: Diagnosis, watch: SourceSite, *offers: FixOffer) -> Diagnosis:
    return msgspec.structs.replace(finding, related={"watch": watch}, fixes=list(offers))


@pytest.fixture
def finding() -> Diagnosis:
    return Diagnosis(
        id="REPRESENTATION_COLLAPSE:item_emb@run",
        type="REPRESENTATION_COLLAPSE",
        layer="item_emb",
        severity="warning",
        confidence=0.99,
        premise="p",
        implies="i",
        action="a",
        expected_effect="e",
        evidence=[
            Evidence(
                statistic="effective_rank",
                value=2,
                threshold=32,
                comparison="below",
                n=900,
                interval=(1, 3),
            )
        ],
    )
