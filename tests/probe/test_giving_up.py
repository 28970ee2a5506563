"""A thread is waited for while it works, however slowly, and given up when it does not."""

from __future__ import annotations

import threading

import pytest

from gradtracer.giving_up import ended


class Worker:
    """A thread on a machine that gives it `share` of a processor, with so much to do."""

    def __init__(self, work: float, share: float) -> None:
        self.work, self.share = work, share
        self.clock = self.computed = 0.0

    def join(self, timeout: float | None = None) -> None:
        assert timeout is not None
        self.clock += timeout
        self.computed = min(self.work, self.computed + self.share * timeout)

    def is_alive(self) -> bool:
        return self.computed < self.work

    def cpu_time(self) -> float:
        return 100.0 + self.computed


def test_one_that_computes_on_a_busy_machine_is_waited_for():
    worker = Worker(work=6.0, share=0.05)
    assert ended(worker, 20.0, worker.cpu_time)
    assert worker.clock == pytest.approx(120.0)


def test_one_that_computes_for_too_long_is_given_up():
    worker = Worker(work=60.0, share=0.25)
    assert not ended(worker, 20.0, worker.cpu_time)
    assert worker.computed == pytest.approx(20.0)


def test_one_that_stands_still_is_given_up_after_the_first_wait():
    worker = Worker(work=6.0, share=0.001)
    assert not ended(worker, 20.0, worker.cpu_time)
    assert worker.clock == 20.0


def test_a_real_thread_that_waits_for_ever_is_given_up_and_one_that_ends_is_not():
    end = threading.Event()
    thread = threading.Thread(target=end.wait, daemon=True)
    thread.start()
    assert not ended(thread, 0.05)
    end.set()
    assert ended(thread, 60.0)
