"""What the first rank proposes begins at one step everywhere, or nowhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed import HashStore

from gradtracer import rank_channel
from gradtracer.analyzers.table_observer import TableObserver
from gradtracer.auto_fix.agreement import INTERVAL, Follower, Leader, Proposal
from gradtracer.auto_fix.hook import UNTOUCHED, RowScaler
from gradtracer.auto_fix.intervene import AutoFix
from gradtracer.rank_channel import Channel
from gradtracer.run import Run
from gradtracer_schemas import Intervention

ROWS = 50
HALF = INTERVAL // 2


def proposal(level: int, rows: int = ROWS) -> Proposal:
    levels = np.full(rows, UNTOUCHED, dtype=np.uint8)
    levels[3] = level
    prepared = RowScaler.prepared(torch.from_numpy(levels.copy()), torch.device("cpu"))
    return Proposal(levels, prepared, "shrink-updates", "told", quietly=False)


class Training:
    """A leader and its followers, over a store as ranks have it."""

    def __init__(self, ranks: int = 3, rows: int = ROWS) -> None:
        store = HashStore()
        self.weight = torch.zeros(ROWS, 4)
        self.leader = Leader(Channel(store, "run/table", ranks))
        self.followers = [
            Follower(Channel(store, "run/table", ranks), "table", rows, torch.device("cpu"))
            for _ in range(ranks - 1)
        ]
        self.step = 0
        self.begun: list[tuple[int, int]] = []

    def propose(self, level: int) -> None:
        self.leader.propose(proposal(level))
        self.leader.publish()

    def follow(self) -> None:
        for follower in self.followers:
            follower.follow()

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.step += 1
            if (begun := self.leader.reached(self.step)) is not None:
                self.begun.append((self.step, int(begun.levels[3])))
            for follower in self.followers:
                follower.after_step(self.weight, self.step)

    @property
    def levels(self) -> list[int]:
        """Of the third row in each follower."""
        held = [follower.scaler._levels for follower in self.followers]
        return [UNTOUCHED if each is None else UNTOUCHED - int(each.taken[3]) for each in held]


def test_all_ranks_begin_at_one_step():
    training = Training()
    training.propose(77)
    training.follow()
    training.train(INTERVAL - 1)
    assert (training.begun, training.levels) == ([], [UNTOUCHED, UNTOUCHED])
    assert training.leader.busy
    training.train(1)
    assert (training.begun, training.levels) == ([(INTERVAL, 77)], [77, 77])
    assert not training.leader.busy


def test_one_rank_that_does_not_hold_it_keeps_all_from_it():
    training = Training()
    training.propose(77)
    training.followers[0].follow()
    training.train(4 * INTERVAL)
    assert (training.begun, training.levels) == ([], [UNTOUCHED, UNTOUCHED])
    training.follow()
    training.train(INTERVAL)
    assert (training.begun, training.levels) == ([(5 * INTERVAL, 77)], [77, 77])


def test_what_has_not_begun_gives_way_to_what_is_proposed_later():
    training = Training()
    training.propose(77)
    training.follow()
    training.propose(26)
    training.train(INTERVAL)
    assert (training.begun, training.levels) == ([], [UNTOUCHED, UNTOUCHED])
    training.follow()
    training.train(INTERVAL)
    assert (training.begun, training.levels) == ([(2 * INTERVAL, 26)], [26, 26])


def test_what_is_about_to_begin_begins_before_the_next():
    training = Training()
    training.propose(77)
    training.follow()
    training.train(HALF)
    training.propose(UNTOUCHED)
    training.follow()
    training.train(HALF)
    assert (training.begun, training.levels) == ([(INTERVAL, 77)], [77, 77])
    training.leader.publish()
    training.follow()
    training.train(INTERVAL)
    assert training.begun[1:] == [(2 * INTERVAL, UNTOUCHED)]
    assert not any(follower.scaler.acts for follower in training.followers)


def test_a_rank_that_is_a_step_behind_keeps_what_is_to_begin_there():
    training = Training(ranks=2)
    (follower,) = training.followers
    training.propose(77)
    training.follow()
    training.train(INTERVAL - 1)
    assert training.leader.reached(INTERVAL) is not None
    training.propose(26)
    follower.follow()
    follower.after_step(training.weight, INTERVAL)
    assert training.levels == [77]


def test_a_rank_that_learns_of_it_late_acts_and_says_so(caplog: pytest.LogCaptureFixture):
    training = Training(ranks=2)
    training.propose(77)
    training.follow()
    for step in range(1, HALF + 1):
        training.leader.reached(step)
    with caplog.at_level(logging.WARNING):
        training.followers[0].after_step(training.weight, 2 * INTERVAL)
    assert training.levels == [77]
    assert "learned at step 512 what began at step 256" in caplog.text


def test_a_table_of_another_size_keeps_all_from_it(caplog: pytest.LogCaptureFixture):
    training = Training(rows=ROWS + 1)
    training.propose(77)
    with caplog.at_level(logging.WARNING):
        training.follow()
    training.train(2 * INTERVAL)
    assert (training.begun, training.levels) == ([], [UNTOUCHED, UNTOUCHED])
    assert "has 51 rows and the first one's 50" in caplog.text


def test_large_messages_go_in_parts_and_old_ones_are_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rank_channel, "_CHUNK", 10)
    store = HashStore()
    first, other = Channel(store, "run", 2), Channel(store, "run", 2)
    assert other.latest() is None
    for number in range(1, 6):
        body = bytes(range(number, number + 25))
        first.publish(number, body)
        latest = other.latest()
        assert latest == (number, 3)
        assert other.fetch(latest) == body
    # Two messages of three parts, and the number of the latest.
    assert store.num_keys() <= 7 + 1


class TwoRanks:
    """Auto-fix of the first rank and the side of another one, over one store, step by step."""

    def __init__(self, run: Run) -> None:
        store = HashStore()
        self.weight = nn.Parameter(torch.zeros(ROWS, 4))
        self.optimizer = torch.optim.SGD([self.weight], lr=0.1)
        self.leader = Leader(Channel(store, "run/table", 2))
        self.first = AutoFix(run, "table", self.weight, 1, leader=self.leader)
        self.other = Follower(Channel(store, "run/table", 2), "table", ROWS, torch.device("cpu"))
        self.observer = TableObserver(
            self.weight.detach(), track_interval=1, seed=0, padding_idx=None
        )
        self.step = 0

    def exchange(self) -> None:
        """What the threads of both do at a report."""
        self.first.report(self.observer, self.weight, final=False)
        self.other.follow()

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.step += 1
            self.first.before_step(self.optimizer, self.weight)
            self.first.after_step(self.weight, self.observer, self.step)
            self.other.after_step(self.weight, self.step)

    @property
    def acting(self) -> tuple[bool, bool]:
        return self.first.scaler.acts, self.other.scaler.acts


def treating(run: Run) -> dict[str, Any]:
    """State of an auto-fix that treats the third row."""
    state = AutoFix(run, "table", torch.zeros(ROWS, 4), 1).state_dict()
    state["levels"][3] = 77
    return state


def test_what_a_saved_state_treated_begins_again_when_all_ranks_hold_it(run: Run):
    ranks = TwoRanks(run)
    ranks.first.load_state_dict(treating(run))
    ranks.train(INTERVAL)
    assert ranks.acting == (False, False)
    ranks.exchange()
    ranks.train(INTERVAL - 1)
    assert ranks.acting == (False, False)
    ranks.train(1)
    assert ranks.acting == (True, True)


def test_turned_off_in_the_first_rank_it_stops_in_all_at_one_step(
    run: Run, said: Callable[[Run], list[Intervention]], audited: Callable[[Run], list[Any]]
):
    ranks = TwoRanks(run)
    ranks.first.load_state_dict(treating(run))
    ranks.exchange()
    ranks.train(INTERVAL)
    ranks.first.request(False, "asked by the editor")
    ranks.train(10)
    ranks.exchange()
    assert ranks.acting == (True, True)
    ranks.train(INTERVAL - 11)
    assert ranks.acting == (True, True)
    ranks.train(1)
    assert ranks.acting == (False, False)
    ranks.exchange()
    stop = said(run)[-1]
    assert (stop.action, stop.rows) == ("stop", 0)
    assert stop.reason == "turned off: asked by the editor; in all ranks alike"
    assert [line["num_affected"] for line in audited(run)] == [1, 1]
