"""How a run ends: at interpreter exit, by an exception, by a signal; never in a forked child."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from types import TracebackType
from typing import NoReturn, Protocol

from gradtracer.callsite import Place, site_at
from gradtracer.project import is_library_file
from gradtracer.terminating import Termination
from gradtracer_schemas import FailurePlace, RunOutcome, SourceSite

_log = logging.getLogger("gradtracer")

_MAX_MESSAGE = 2_000
_MAX_FRAMES = 12


class Endable(Protocol):
    """What this module ends."""

    step: int
    """Optimizer steps done."""

    def finish(
        self, outcome: RunOutcome = ..., reason: str = ..., failure: FailurePlace | None = ...
    ) -> None:
        """End the run; a second call does nothing."""
        ...

    def forget(self) -> None:
        """Become inert without touching files or sockets: this is a forked child."""
        ...


_open_runs: weakref.WeakSet[Endable] = weakref.WeakSet()
_crash: list[tuple[RunOutcome, str, FailurePlace | None]] = []
_exits: weakref.WeakKeyDictionary[Endable, int] = weakref.WeakKeyDictionary()
"""At which step each run was when `sys.exit` was called with a status that says failure."""
_exit_reason: list[str] = []
_installed = False


def end_with_process(run: Endable) -> None:
    """Have `run` finished when this process ends, however it ends (short of SIGKILL)."""
    _open_runs.add(run)
    _install()
    _termination.begin()


def has_ended(run: Endable) -> None:
    """`run` is finished: with the last one SIGTERM is left as it was found."""
    _open_runs.discard(run)
    if not _open_runs:
        _termination.cease()


def _install() -> None:
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)
    _chain_excepthook()
    _chain_exit()


def _at_exit() -> None:
    outcome, reason, failure = _crash[-1] if _crash else ("finished", "", None)
    for run in list(_open_runs):
        if not _crash and _exits.get(run) == run.step:
            run.finish("failed", _exit_reason[-1])
        else:
            run.finish(outcome, reason, failure)


def _in_child() -> None:
    for run in list(_open_runs):
        run.forget()
    _open_runs.clear()
    _termination.forget()


def _chain_excepthook() -> None:
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            _crash.append(("interrupted", "KeyboardInterrupt", None))
        else:
            _crash.append(("failed", _one_line(kind, error), failure_place(error, trace)))
        previous(kind, error, trace)

    sys.excepthook = hook


def _chain_exit() -> None:
    previous = sys.exit

    def leave(status: str | int | None = None, /) -> NoReturn:
        if status is not None and status != 0:
            # Only remembered: the exception may be caught, and training go on.
            _exit_reason.append(f"sys.exit({status!r})"[:200])
            for run in list(_open_runs):
                _exits[run] = run.step
        previous(status)

    sys.exit = leave


def _interrupt(signal_name: str) -> None:
    for run in list(_open_runs):
        run.finish("interrupted", signal_name, None)


def _remember(signal_name: str) -> None:
    _crash.append(("interrupted", signal_name, None))


_termination = Termination(_interrupt, _remember)


def failure_place(error: BaseException, trace: TracebackType | None) -> FailurePlace:
    """Exception with the frames in code that is not an installed library's, the innermost first."""
    places: list[Place] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if not is_library_file(code.co_filename):
            places.insert(0, Place(code, trace.tb_lasti, trace.tb_lineno or 0))
        trace = trace.tb_next
    return FailurePlace(
        exception=type(error).__name__,
        message=str(error)[:_MAX_MESSAGE],
        file=places[0].code.co_filename if places else "",
        line=places[0].line if places else 0,
        site=_site(places[:_MAX_FRAMES]),
    )


def _site(places: list[Place]) -> SourceSite:
    """The statements; none rather than an error in the last moment of a process."""
    try:
        return site_at(places)
    except Exception:
        _log.debug("the statements that failed cannot be read", exc_info=True)
        return SourceSite()


def _one_line(kind: type[BaseException], error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{kind.__name__}: {lines[0][:200]}" if lines else kind.__name__
