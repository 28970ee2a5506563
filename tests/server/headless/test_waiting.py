"""Waiting for news of the runs: each test lets the news come while the waiter pauses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from run_factory import RunFactory

from gradtracer_server.exceptions import UsageError
from gradtracer_server.headless.waiting import wait_until
from gradtracer_server.runbook import RunBook

BIAS = "POPULARITY_BIAS"


def meanwhile(*acts: Callable[[], object]) -> Callable[[float], Awaitable[None]]:
    """A pause in which one thing after the other happens, and then nothing more."""
    left = list(acts)

    async def pause(_: float) -> None:
        if left:
            left.pop(0)()

    return pause


async def wait(project: RunFactory, *acts: Callable[[], object], **until: Any) -> dict[str, Any]:
    return await wait_until(RunBook([project.root]), meanwhile(*acts), **until)


async def test_sequence_is_waited_for(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    see = lambda: run.observe("item_emb")  # noqa: E731 - done several times
    answer = await wait(project, see, see, see, see, seq=5)
    assert (answer["reason"], answer["seq"]) == ("seq", 5)


async def test_sequence_that_was_reached_needs_no_waiting(project: RunFactory) -> None:
    run = project.finished()
    answer = await wait(project, seq=1)
    assert (answer["reason"], answer["run"]) == ("seq", run.id)


async def test_finding_that_comes_is_news(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    answer = await wait(
        project, lambda: run.observe("item_emb"), lambda: run.diagnose(BIAS, "item_emb")
    )
    assert answer["reason"] == "changed"
    assert (answer["raised"], answer["cleared"]) == ([f"{BIAS}:item_emb@{run.id}"], [])


async def test_finding_that_goes_is_news(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    diagnosis = run.diagnose(BIAS, "item_emb")
    answer = await wait(project, lambda: run.clear(diagnosis))
    assert answer["reason"] == "changed"
    assert (answer["raised"], answer["cleared"]) == ([], [diagnosis.id])


async def test_end_of_a_live_run_is_news(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    assert (await wait(project, run.end))["reason"] == "ended"


async def test_waiting_for_the_end_passes_over_changes(project: RunFactory) -> None:
    run = project.start()
    run.watch_layers()
    answer = await wait(project, lambda: run.diagnose(BIAS, "item_emb"), run.end, ended=True)
    assert (answer["reason"], answer["status"]) == ("ended", "finished")
    assert answer["raised"] == [f"{BIAS}:item_emb@{run.id}"]


async def test_waiting_for_the_end_takes_a_run_that_begins_meanwhile(project: RunFactory) -> None:
    first = project.finished()
    answer = await wait(project, lambda: project.finished(BIAS), ended=True)
    assert answer["reason"] == "ended"
    assert answer["run"] != first.id
    assert answer["raised"] == [f"{BIAS}:item_emb@{answer['run']}"]


async def test_run_that_ended_before_is_no_news(project: RunFactory) -> None:
    run = project.finished()
    for until in ({"ended": True}, {}):
        answer = await wait(project, timeout_seconds=0.01, **until)
        assert (answer["reason"], answer["run"]) == ("timeout", run.id)


async def test_what_a_named_run_found_before_is_no_news(project: RunFactory) -> None:
    first = project.finished()
    project.finished(BIAS)
    answer = await wait(project, run=first.id, timeout_seconds=0.01)
    assert (answer["reason"], answer["raised"]) == ("timeout", [])
    assert answer["diagnoses"] == [f"ZOMBIE_EMBEDDINGS:item_emb@{first.id}"]


async def test_named_run_that_has_ended_is_not_waited_for(project: RunFactory) -> None:
    run = project.finished()
    answer = await wait(project, run=run.id, ended=True, timeout_seconds=0.01)
    assert (answer["reason"], answer["run"]) == ("ended", run.id)


async def test_first_run_may_begin_meanwhile(project: RunFactory) -> None:
    assert (await wait(project, project.finished, seq=0))["reason"] == "seq"
    assert (await wait(project, timeout_seconds=0))["run"] is not None


async def test_no_run_is_told_after_the_time(project: RunFactory) -> None:
    answer = await wait(project, timeout_seconds=0)
    assert answer == {"reason": "timeout", "run": None, "note": "there is no run yet"}


async def test_unknown_run_is_a_usage_error(project: RunFactory) -> None:
    run = project.finished()
    with pytest.raises(UsageError, match=run.id):
        await wait(project, run=f"{run.id[:-1]}f")


async def test_beginning_of_several_runs_names_them(project: RunFactory) -> None:
    ids = [project.finished().id for _ in range(2)]
    with pytest.raises(UsageError, match=f"2 runs begin with: {ids[1]}, {ids[0]}"):
        await wait(project, run="2")
