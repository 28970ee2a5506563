"""What the first rank was asked to change holds in every rank, whenever it hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from torch.distributed import HashStore

from gradtracer.controlling import Controlling
from gradtracer.live_settings import FirstRank, OtherRank
from gradtracer.rank_channel import Channel
from gradtracer.run import Run
from gradtracer.settings import Settings
from gradtracer_schemas import ControlRequest, LayerWatched, RequestRefused, SetAutoFix


class Table:
    """A tracker, as a request sees it."""

    def __init__(self, name: str) -> None:
        self.name, self.track_interval = name, 1
        self.turned: list[bool] = []

    @property
    def auto_fix(self) -> bool:
        return bool(self.turned) and self.turned[-1]

    def set_track_interval(self, interval: int) -> None:
        self.track_interval = interval

    def set_auto_fix(self, enabled: bool, *, reason: str) -> bool:
        self.turned.append(enabled)
        return True

    def declarations(self) -> Sequence[LayerWatched]:
        return []


def sides() -> tuple[FirstRank, OtherRank]:
    store = HashStore()
    return FirstRank(Channel(store, "run", 2)), OtherRank(Channel(store, "run", 2))


def test_who_misses_messages_has_all_of_them_in_the_next() -> None:
    first, other = sides()
    users, items = Table("users"), Table("items")
    other.follow([users, items])
    first.say(track_interval={"users": 5, "items": 5})
    first.say(auto_fix={"items": True})
    for interval in range(7, 12):
        first.say(track_interval={"users": interval})
    other.follow([users, items])
    assert (users.track_interval, items.track_interval) == (11, 5)
    assert (users.turned, items.turned) == ([], [True])


def test_what_is_said_of_a_table_that_is_not_watched_yet_waits_for_it() -> None:
    first, other = sides()
    users, items = Table("users"), Table("items")
    first.say(auto_fix={"users": True, "items": True})
    other.follow([users])
    other.follow([users, items])
    other.follow([users, items])
    assert (users.turned, items.turned) == ([True], [True])


def test_off_is_the_first_ranks_to_propose_and_changes_nothing_here() -> None:
    first, other = sides()
    items = Table("items")
    first.say(auto_fix={"items": True})
    other.follow([items])
    first.say(auto_fix={"items": False})
    other.follow([items])
    assert items.turned == [True]


def test_ranks_that_cannot_hear_of_it_are_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with Run(root=tmp_path, settings=Settings(publish=False)) as run:
        items = Table("items")
        run.trackers.append(items)  # type: ignore[arg-type]
        request = ControlRequest(
            protocol="1.0", run=run.id, id="a", body=SetAutoFix(enabled=True), sender="test"
        )
        with pytest.raises(RequestRefused, match=r"call watch\(\) after init_process_group"):
            Controlling(run).carry_out(request)
        run.trackers.clear()
    assert items.turned == []
