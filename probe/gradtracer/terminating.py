"""SIGTERM: runs end with a word, and the process ends as surely as it would unobserved.

A handler in Python waits until the main thread executes Python again. That may be long, in native
code that waits for another rank, or never, in a system call that was entered just after the signal
came, as by an idle worker that its `multiprocessing.Pool` terminates. So the handler stands only
while a run is open, and the number of the signal also reaches a thread of ours
(`signal.set_wakeup_fd`), which ends runs and process where the main thread has not begun to.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from gradtracer.giving_up import ended

_PATIENCE_SECONDS = 2.0
"""For the main thread to begin: a handler is called within microseconds where Python runs."""
_END_SECONDS = 25.0


class Termination:
    """What SIGTERM does while a run is open.

    Args:
        end_runs: ends every open run as interrupted by the signal of that name, and waits for it.
        remember: called in its place where Lightning's handler called ours and the training is to
            stop in good order.
    """

    def __init__(self, end_runs: Callable[[str], None], remember: Callable[[str], None]) -> None:
        self._end_runs = end_runs
        self._remember = remember
        self._begun = threading.Lock()
        self._by_watcher = False
        self._pipe: tuple[int, int] | None = None

    def begin(self) -> None:
        """Handle SIGTERM; a handler of the user's own stays in charge, its clean exit is seen."""
        if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        signal.signal(signal.SIGTERM, self._handle)
        if os.name == "posix":
            self._watch()

    def cease(self) -> None:
        """Leave SIGTERM as it was found: no run is open."""
        if not _in_main_thread():
            return
        if self._in_charge():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._pipe is not None:
            _release(self._pipe[1])
            # The watcher reads its end to the end, and closes it.
            os.close(self._pipe[1])
            self._pipe = None

    def forget(self) -> None:
        """In a forked child: no watcher lives here, and the pipe is its parent's."""
        if self._pipe is not None:
            os.close(self._pipe[0])
        self.cease()

    def _in_charge(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _watch(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        another = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        if another != -1:
            # An event loop of the program listens, and stays in charge of that.
            signal.set_wakeup_fd(another)
            os.close(reader)
            os.close(writer)
            return
        self._pipe = (reader, writer)
        threading.Thread(
            target=self._end_if_overdue, args=(reader,), name="gradtracer-end", daemon=True
        ).start()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if _ends_the_batch_first(signal.getsignal(number)):
            self._remember(name)
            return
        if self._begun.acquire(blocking=False):
            self._end_runs(name)
        elif self._by_watcher:
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _end_if_overdue(self, reader: int) -> None:
        with open(reader, "rb", buffering=0) as numbers:
            while came := numbers.read(64):
                if signal.SIGTERM not in came:
                    continue
                time.sleep(_PATIENCE_SECONDS)
                if self._in_charge() and self._begun.acquire(blocking=False):
                    self._by_watcher = True
                    self._end_process()

    def _end_process(self) -> None:
        # Not in this thread: the main one may have stopped while it held what this needs.
        work = threading.Thread(target=self._end_runs, args=("SIGTERM",), daemon=True)
        work.start()
        ended(work, _END_SECONDS)
        # `signal.signal` is for the main thread alone.
        set_handler = ctypes.pythonapi.PyOS_setsig
        set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        set_handler(signal.SIGTERM, None)
        os.kill(os.getpid(), signal.SIGTERM)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _release(descriptor: int) -> None:
    """End the writing of signals' numbers to `descriptor`, where it is still the one."""
    another = signal.set_wakeup_fd(-1)
    if another not in (-1, descriptor):
        signal.set_wakeup_fd(another)


def _ends_the_batch_first(handler: object) -> bool:
    """Whether ours was called by Lightning's handler, which lets a training stop in good order."""
    return type(handler).__module__.partition(".")[0] in ("lightning", "pytorch_lightning")
