"""Auto-fix as a whole: which rows it treats and when, what it says, how it is turned on and off."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from alternating import alternate
from torch import nn

from gradtracer import UsageError
from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.auto_fix.hook import UNTOUCHED
from gradtracer.run import Run
from gradtracer_schemas import Intervention, unpack_levels, unpack_rows

STEPS = 300
"""Beyond the first decision."""


def treated(tracker: EmbeddingTracker) -> list[int]:
    assert tracker._auto_fix.current is not None
    return (tracker._auto_fix.current._levels < UNTOUCHED).nonzero()[0].tolist()


def table(rows: int = 400) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(rows, 16)


def test_named_rows_are_treated_but_for_the_held_out_share_and_all_is_said(
    run: Run, said: Callable[[Run], list[Intervention]], audited: Callable[[Run], list[Any]]
):
    layer = table()
    tracker = EmbeddingTracker(layer, auto_fix=True, run=run)
    alternate(layer, STEPS, bad=100)
    named = set(tracker.zombie_embeddings())
    rows = treated(tracker)
    assert set(rows) < named
    assert len(named) - len(rows) == pytest.approx(0.2 * len(named), abs=0.1 * len(named))
    levels = tracker._auto_fix.current._levels
    (event,) = said(run)
    assert event.action == "shrink-updates"
    assert event.rows == len(rows)
    assert event.held_out == len(named - set(rows))
    assert event.mean_scale == pytest.approx(levels[rows].mean() / 255)
    assert event.sample == rows[:20]
    assert event.reason.startswith(f"ZOMBIE_EMBEDDINGS names {len(named)} rows; no loss is given")
    (line,) = audited(run)
    assert unpack_rows(line["rows"]) == rows
    assert list(unpack_levels(line["levels"])) == levels[rows].tolist()
    assert set(unpack_rows(line["held_out"])) == named - set(rows)
    assert line["num_affected"] == line["treated_rows"] == len(rows)
    assert line["seed"] == 0
    assert line["code_version"]
    assert line["layer"] == tracker.name


def test_nothing_is_done_before_there_is_evidence(
    run: Run, said: Callable[[Run], list[Intervention]]
):
    layer, plain = table(), table()
    EmbeddingTracker(layer, auto_fix=True, run=run)
    for each in (layer, plain):
        alternate(each, 255, bad=100)
    assert torch.equal(layer.weight, plain.weight)
    assert said(run) == []


def test_a_table_without_zombies_is_left_alone_to_the_bit(
    run: Run, said: Callable[[Run], list[Intervention]]
):
    layer, plain = table(), table()
    EmbeddingTracker(layer, auto_fix=True, run=run)
    for each in (layer, plain):
        alternate(each, STEPS, bad=0)
    assert torch.equal(layer.weight, plain.weight)
    assert said(run) == []


def test_while_the_loss_improves_updates_are_left_alone(
    run: Run, said: Callable[[Run], list[Intervention]]
):
    layer, plain = table(), table()
    EmbeddingTracker(layer, auto_fix=True, run=run)
    alternate(layer, STEPS, bad=100, after=lambda n: run.log(loss=1 / (1 + n)))
    alternate(plain, STEPS, bad=100)
    assert torch.equal(layer.weight, plain.weight)
    (event,) = said(run)
    assert event.action == "wait"
    assert event.rows == 0
    assert event.improving == pytest.approx(1.0)
    assert "the loss is improving (posterior of improvement 1.00)" in event.reason


@pytest.mark.parametrize("way", ["run.log", "tracker.step"])
def test_a_loss_that_no_longer_improves_opens_the_gate(run: Run, way: str):
    layer = table()
    tracker = EmbeddingTracker(layer, auto_fix=True, run=run)
    tell = run.log if way == "run.log" else tracker.step
    alternate(layer, STEPS, bad=100, after=lambda n: tell(torch.tensor(float(n))))
    assert treated(tracker)


def test_a_loss_that_is_no_number_closes_it(run: Run, said: Callable[[Run], list[Intervention]]):
    layer = table()
    tracker = EmbeddingTracker(layer, auto_fix=True, run=run)
    alternate(layer, STEPS, bad=100, after=lambda n: tracker.step(float("nan")))
    assert treated(tracker) == []
    assert "the loss is not finite" in said(run)[0].reason


@pytest.mark.parametrize(("loss", "any_treated"), [(None, False), (0.0, True)])
def test_all_rows_need_a_loss_that_no_longer_improves(
    make_run: Callable[..., Run], loss: float | None, any_treated: bool
):
    run = make_run(auto_fix_rows="all")
    layer = table()
    tracker = EmbeddingTracker(layer, auto_fix=True, run=run)
    alternate(layer, STEPS, bad=0, after=lambda n: tracker.step(loss))
    assert bool(treated(tracker)) is any_treated
    if any_treated:
        assert len(treated(tracker)) == pytest.approx(320, abs=40)


@pytest.mark.parametrize(
    ("holdout", "all_treated", "words"),
    [(0.0, True, "its effect is not measured"), (1.0, False, "nothing is treated")],
)
def test_a_holdout_of_none_or_all_is_allowed_and_said(
    make_run: Callable[..., Run],
    said: Callable[[Run], list[Intervention]],
    holdout: float,
    all_treated: bool,
    words: str,
):
    run = make_run(auto_fix_holdout=holdout)
    layer = table()
    tracker = EmbeddingTracker(layer, auto_fix=True, run=run)
    alternate(layer, 600, bad=100)
    rows = treated(tracker)
    assert (set(rows) == set(tracker.zombie_embeddings())) is all_treated
    assert bool(rows) is all_treated
    events = said(run)
    assert words in events[0].reason
    assert all(event.effects == [] for event in events)


@pytest.mark.parametrize("auto_fix", [False, True])
def test_what_is_on_is_not_offered(run: Run, auto_fix: bool):
    layer = table()
    tracker = EmbeddingTracker(layer, auto_fix=auto_fix, run=run)
    alternate(layer, 40, bad=40)
    (zombies,) = [found for found in tracker.findings() if found.type == "ZOMBIE_EMBEDDINGS"]
    assert ("enable-auto-fix" in {offer.fix for offer in zombies.fixes}) is not auto_fix
    assert ("already" in zombies.action) is auto_fix


def test_turned_off_and_on_again_in_a_running_training(
    run: Run, said: Callable[[Run], list[Intervention]], audited: Callable[[Run], list[Any]]
):
    layer = table()
    tracker = EmbeddingTracker(layer, name="item_emb", auto_fix=True, run=run)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    alternate(layer, STEPS, bad=100, optimizer=optimizer)
    assert treated(tracker)
    assert run.set_auto_fix(False, "item_emb", reason="asked by the editor") == ["item_emb"]
    assert not tracker.auto_fix
    # At the next step, and no sooner.
    assert treated(tracker)
    alternate(layer, STEPS, bad=100, optimizer=optimizer)
    assert treated(tracker) == []
    assert run.set_auto_fix(True, reason="asked again") == ["item_emb"]
    alternate(layer, 2 * STEPS, bad=100, optimizer=optimizer)
    assert treated(tracker)
    actions = ["shrink-updates", "stop", "wait", "shrink-updates"]
    events = said(run)
    assert [event.action for event in events][:4] == actions
    assert events[1].reason == "turned off: asked by the editor"
    assert events[1].rows == 0
    assert [line["action"] for line in audited(run)][:4] == actions


def test_turned_on_where_it_was_never_asked_for(
    run: Run, said: Callable[[Run], list[Intervention]]
):
    layer = table()
    tracker = EmbeddingTracker(layer, run=run)
    assert not tracker.auto_fix
    run.set_auto_fix(True, reason="asked by the editor")
    assert tracker.auto_fix
    alternate(layer, STEPS, bad=100)
    assert treated(tracker)
    assert [event.action for event in said(run)] == ["wait", "shrink-updates"]


def test_an_unknown_table_is_named_with_those_there_are(run: Run):
    EmbeddingTracker(table(), name="item_emb", run=run)
    with pytest.raises(UsageError, match="'user_emb': item_emb"):
        run.set_auto_fix(True, "user_emb", reason="")


def test_a_failure_switches_it_off_and_neither_training_nor_observation(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from gradtracer.auto_fix import choosing

    monkeypatch.setattr(choosing, "signal_share", lambda *_: 1 / 0)
    layer, plain = table(), table()
    tracker = EmbeddingTracker(layer, auto_fix=True, run=run)
    for each in (layer, plain):
        alternate(each, STEPS, bad=100)
    assert torch.equal(layer.weight, plain.weight)
    assert not tracker.auto_fix
    assert tracker.steps == STEPS
    assert caplog.text.count("switched auto-fix off") == 1


def test_a_resumed_training_goes_on_with_the_same_rows(make_run: Callable[..., Run]):
    def begin() -> tuple[nn.Embedding, EmbeddingTracker, torch.optim.Optimizer]:
        layer = table()
        tracker = EmbeddingTracker(layer, name="item_emb", auto_fix=True, run=make_run())
        return layer, tracker, torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)

    def losses(tracker: EmbeddingTracker) -> Callable[[int], object]:
        return lambda n: tracker.step(torch.full((400,), 1.0 + n % 7))

    layer, tracker, optimizer = begin()
    alternate(layer, 700, bad=100, optimizer=optimizer, after=losses(tracker))
    saved = io.BytesIO()
    torch.save([each.state_dict() for each in (layer, tracker, optimizer)], saved)
    saved.seek(0)
    again, resumed, other = begin()
    state = torch.load(saved, weights_only=False)
    for each, part in zip((again, resumed, other), state, strict=True):
        each.load_state_dict(part)
    assert treated(resumed) == treated(tracker) != []
    for one, its, opt in ((layer, tracker, optimizer), (again, resumed, other)):
        alternate(one, 700, bad=100, optimizer=opt, after=losses(its))
    assert torch.equal(layer.weight, again.weight)
    first, second = tracker._auto_fix.current, resumed._auto_fix.current
    assert first.holdout.looks == second.holdout.looks > 1
    # The observer itself begins a new burst: one pair of exposures of each row is not followed.
    for one, other in zip(first.holdout.effects, second.holdout.effects, strict=True):
        assert one.n_treated == other.n_treated
        assert one.difference == pytest.approx(other.difference, abs=0.02)
    assert first.gate.verdict() == second.gate.verdict()


def test_a_loss_per_example_that_fits_no_look_up_is_said_once(
    run: Run, caplog: pytest.LogCaptureFixture
):
    layer = table()
    tracker = EmbeddingTracker(layer, name="item_emb", auto_fix=True, run=run)
    alternate(layer, 5, bad=0, after=lambda _: tracker.step(torch.ones(3)))
    assert caplog.text.count("item_emb: a loss for each of 3 examples does not fit") == 1


def test_an_optimizer_that_searches_along_a_line_is_left_alone(
    run: Run, caplog: pytest.LogCaptureFixture, said: Callable[[Run], list[Intervention]]
):
    layer = table(40)
    tracker = EmbeddingTracker(layer, auto_fix=True, run=run)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (layer(torch.arange(40)) - 1).square().sum()
        loss.backward()
        return loss

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            optimizer.step(closure)
    assert "LBFGS searches along a line" in caplog.text
    assert treated(tracker) == []
    assert said(run) == []


def test_ranks_that_cannot_agree_are_left_alone_and_told(
    monkeypatch: pytest.MonkeyPatch,
    make_run: Callable[..., Run],
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with caplog.at_level(logging.WARNING):
        tracker = EmbeddingTracker(table(), auto_fix=True, run=make_run())
    assert not tracker.auto_fix
    assert "2 ranks train, and there is no process group" in caplog.text
    assert not tracker.set_auto_fix(True, reason="asked for")


def test_a_table_of_which_each_rank_holds_a_part_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
    make_run: Callable[..., Run],
    caplog: pytest.LogCaptureFixture,
):
    class Part(torch.Tensor):
        """As DTensor is one, which needs a process group."""

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    layer = table()
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Part))
    with caplog.at_level(logging.WARNING):
        tracker = EmbeddingTracker(layer, auto_fix=True, run=make_run())
    assert not tracker.auto_fix
    assert "each rank holds a part of the table" in caplog.text
