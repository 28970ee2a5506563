"""Run a user's script or module as `python` would, under observation.

The script gets a `__main__` module of its own, so that pickling, `multiprocessing` and
`if __name__ == "__main__"` see what they would see without us. Loads neither torch nor anything
that the script does not load.
"""

from __future__ import annotations

import atexit
import importlib.machinery
import importlib.util
import io
import logging
import os
import sys
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from gradtracer.callbacks.automatic_boosting import observe_boosters
from gradtracer.command_line import USAGE, Command, parse
from gradtracer.exceptions import GradTracerError, UsageError
from gradtracer.importing import when_imported
from gradtracer.project import project_root
from gradtracer.settings import load_settings

if TYPE_CHECKING:
    from gradtracer.automatic import AutomaticObservation

_kept: list[ModuleType] = []


def main(words: list[str]) -> None:
    """The command `python -m gradtracer`; `words` are those behind it."""
    try:
        command = parse(words)
        if command is None:
            sys.stdout.write(USAGE)
            return
        program = _module(command) if command.is_module else _script(command)
        load_settings(project_root(Path(str(program.__file__))), **command.settings)
    except GradTracerError as error:
        sys.stderr.write(f"python -m gradtracer: {error}\nTry python -m gradtracer --help\n")
        sys.exit(2)
    watching = _Watching(command.settings)
    try:
        _execute(program, command)
    except SystemExit:
        raise
    except BaseException as error:
        watching.explained = True
        _hide_our_frames(error)
        raise


class _Watching:
    """Observation to come, and the word at the end when there was none."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.explained = False
        self._settings = settings
        self._pid = os.getpid()
        self._observation: AutomaticObservation | None = None
        # First in, last out: runs have ended by then.
        atexit.register(self._say_when_nothing_was_observed)
        when_imported("torch", self._begin)
        self._boosted = False
        observe_boosters(settings, self._boost)

    def _boost(self) -> None:
        self._boosted = True

    def _begin(self, _torch: ModuleType) -> None:
        try:
            from gradtracer.automatic import AutomaticObservation

            self._observation = AutomaticObservation(self._settings)
            self._observation.begin()
        except Exception:
            self.explained = True
            logging.getLogger("gradtracer").exception(
                "GradTracer cannot observe with this torch; the script is not affected"
            )

    def _say_when_nothing_was_observed(self) -> None:
        if self.explained or self._boosted or os.getpid() != self._pid:
            return
        if self._observation is None:
            reason = "the script imported no torch, and trained no booster"
        elif not self._observation.began:
            reason = "no torch optimizer took a step in this process"
        else:
            return
        if "catboost" in sys.modules:
            reason += "; catboost.cv tells nobody of its rounds, a fit with an eval_set does"
        sys.stderr.write(f"gradtracer: nothing was observed: {reason}\n")


def _script(command: Command) -> ModuleType:
    path = Path(command.target)
    if not path.is_file():
        raise UsageError(f"expected a Python script, found no file {command.target!r}")
    file = os.path.abspath(path)  # noqa: PTH100 as python does: symbolic links stay
    if not sys.flags.safe_path:
        sys.path[0] = str(path.resolve().parent)
    loader = importlib.machinery.SourceFileLoader("__main__", file)
    return _main_module(file, loader, spec=None, package=None)


def _module(command: Command) -> ModuleType:
    name = command.target
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ModuleNotFoundError as error:
        raise UsageError(f"no module named {name!r} ({error})") from None
    if spec is None or spec.loader is None or not spec.has_location:
        raise UsageError(f"expected a module with a file, found none named {name!r}")
    return _main_module(str(spec.origin), spec.loader, spec=spec, package=spec.parent)


def _main_module(
    file: str, loader: Any, *, spec: importlib.machinery.ModuleSpec | None, package: str | None
) -> ModuleType:
    module = ModuleType("__main__")
    module.__file__ = file
    module.__loader__ = loader
    module.__spec__ = spec
    module.__package__ = package
    vars(module).update(
        __builtins__=sys.modules["builtins"],
        __cached__=spec.cached if spec is not None else None,
        __annotations__={},
    )
    return module


def _execute(program: ModuleType, command: Command) -> None:
    sys.argv = [str(program.__file__) if command.is_module else command.target, *command.arguments]
    _kept.append(sys.modules["__main__"])
    sys.modules["__main__"] = program
    exec(_code(program), vars(program))


def _code(program: ModuleType) -> CodeType:
    spec = program.__spec__
    if spec is not None:
        loader: Any = spec.loader
        return loader.get_code(spec.name)
    with io.open_code(str(program.__file__)) as file:
        return compile(file.read(), str(program.__file__), "exec", dont_inherit=True)


def _hide_our_frames(error: BaseException) -> None:
    """Have the interpreter print the traceback that `python script.py` would print."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if value is error:
            trace = _without_ours(trace)
            value = value.with_traceback(trace)
        previous(kind, value, trace)

    sys.excepthook = hook


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    here, rest = trace, trace
    while here is not None:
        following = here.tb_next
        if here.tb_frame.f_code in _OUR_CODE:
            rest = following
        here = following
    return rest


_OUR_CODE = frozenset({main.__code__, _execute.__code__, _code.__code__})
