"""Where the user's code built each module.

Primary source: the constructor of `nn.Module` itself. When it runs, the frames outside the layer's
own constructors hold the call that built the layer. Fallback for modules built earlier or
unpickled: the source of their owners' classes (`class_source.py`). Frames are kept as (code,
instruction) and turned into statements only when a run asks, so that building a model costs
microseconds.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import sys
import weakref
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from gradtracer.class_source import ClassSource
from gradtracer.exceptions import NotAModel
from gradtracer.importing import when_imported
from gradtracer.project import is_users_source
from gradtracer.source import source_frame
from gradtracer_schemas import SourceFrame, SourceSite

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger("gradtracer")

_MAX_PLACES = 40
_MAX_FRAMES = 12
_INNERMOST = 6
_OUR_PACKAGE = __name__.partition(".")[0]
_FOREIGN = frozenset(
    {"torch", "xgboost", "lightgbm", "catboost", _OUR_PACKAGE, "importlib", "runpy", "threading"}
)


class Place(NamedTuple):
    """A call on the stack."""

    code: CodeType
    instruction: int
    line: int


class _Record(NamedTuple):
    module: weakref.ref[nn.Module]
    places: list[Place]
    unpickled: bool
    """Whether the places are those of the load, which say nothing of the definition."""


# By identity: a module that compares by value must not be taken for another.
_built: dict[int, _Record] = {}
_wrapped: dict[Any, Any] = {}
_failed = False


def install() -> None:
    """Start recording construction sites, now or as soon as torch has been imported."""
    when_imported("torch.nn.modules.module", _install)
    when_imported("torch._dynamo.mutation_guard", _show_the_compiler_the_plain_constructor)


def _install(module: Any) -> None:
    """Wrap constructor and `__setstate__`, as PyTorch's compiler does for a purpose of its own.

    The registration hooks come too late: a layer without parameters is first registered with its
    parent, a container filled later with its first child.
    """
    base = module.Module
    init, setstate = base.__init__, base.__setstate__

    @functools.wraps(init)
    def recording_init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        if not module.torch.compiler.is_compiling():
            _note(self, sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        init(self, *args, **kwargs)

    @functools.wraps(setstate)
    def recording_setstate(self: nn.Module, state: Any) -> None:
        _note_copy(self, sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        setstate(self, state)

    _wrapped[recording_init] = init
    base.__init__ = recording_init
    base.__setstate__ = recording_setstate


def _show_the_compiler_the_plain_constructor(guard: Any) -> None:
    """A module built within a compiled function must not be traced through our frames."""
    known = guard.unpatched_nn_module_init
    guard.unpatched_nn_module_init = _wrapped.get(known, known)


def _note(module: nn.Module, frame: FrameType) -> None:
    try:
        known = _built.get(id(module))
        if known is None or known.module() is not module:
            _keep(module, _stack(frame, built=module))
    except Exception:
        _fail()


def _note_copy(module: nn.Module, frame: FrameType | None) -> None:
    """A copy was defined where its original was; what is unpickled, where its class says."""
    try:
        # PyTorch's compiler, once used, wraps `__setstate__` as well.
        while frame is not None and (frame.f_code.co_name == "__setstate__" or _is_foreign(frame)):
            frame = frame.f_back
        if frame is None:
            return
        code = frame.f_code
        if code.co_name == "_reconstruct" and code.co_filename == copy.__file__:
            original = _built.get(id(frame.f_locals.get("x")))
            if original is not None:
                _keep(module, original.places, unpickled=original.unpickled)
        else:
            _keep(module, _stack(frame), unpickled=True)
    except Exception:
        _fail()


def _keep(module: nn.Module, places: list[Place], *, unpickled: bool = False) -> None:
    key = id(module)

    def forget(gone: weakref.ref[nn.Module]) -> None:
        record = _built.get(key)
        if record is not None and record.module is gone:
            del _built[key]

    _built[key] = _Record(weakref.ref(module, forget), places, unpickled)


def _fail() -> None:
    global _failed
    if not _failed:
        _failed = True
        _log.warning("a module's construction could not be recorded", exc_info=True)


def _stack(frame: FrameType | None, built: object = None) -> list[Place]:
    places: list[Place] = []
    inside = built is not None
    while frame is not None and len(places) < _MAX_PLACES:
        if not _is_foreign(frame):
            # Only next to PyTorch's own constructor can frames be those of the layer's.
            inside = inside and _is_given(frame, built)
            if not inside:
                places.append(Place(frame.f_code, frame.f_lasti, frame.f_lineno))
        frame = frame.f_back
    return places


def _is_foreign(frame: FrameType) -> bool:
    # A module started by `python -m` is named __main__; its package is what it was.
    names = frame.f_globals
    package = str(names.get("__package__") or names.get("__name__", "")).partition(".")[0]
    return package in _FOREIGN


def _is_given(frame: FrameType, built: object) -> bool:
    """Whether a frame works on a module: its constructor, or a function around that."""
    code = frame.f_code
    values = frame.f_locals
    if code.co_argcount > 0:
        return values.get(code.co_varnames[0]) is built
    if code.co_flags & inspect.CO_VARARGS:
        given = values.get(code.co_varnames[code.co_kwonlyargcount])
        return isinstance(given, tuple) and len(given) > 0 and given[0] is built
    return False


def built_modules() -> list[nn.Module]:
    """Every module alive that was built since recording began, in that order."""
    found = (record.module() for record in list(_built.values()))
    return [module for module in found if module is not None]


def is_recorded(module: nn.Module) -> bool:
    """Whether it was built, copied or unpickled since recording began."""
    return id(module) in _built


def call_site() -> SourceSite:
    """Site of the innermost call outside this package, e.g. the user's `watch(...)`."""
    return site_at(calling_places())


def calling_places(built: object = None) -> list[Place]:
    """The user's calls that lead here, innermost first, without those of `built`'s constructor."""
    # A frame in a variable of its own is a cycle, which would keep the caller's variables alive.
    return _stack(sys._getframe(1), built)  # pyright: ignore[reportPrivateUsage]


def site_at(places: list[Place]) -> SourceSite:
    """The statements of a chain of calls."""
    frames = _frames(places)
    return SourceSite(frames=frames, origin="call" if frames else "unknown")


def locate_modules(model: nn.Module) -> dict[str, SourceSite]:
    """Where each module of a model was built: the chain of statements, innermost first.

    By the dotted paths of `model.named_modules()`, the model itself under `""`. Import `gradtracer`
    before the model is built and each site has `origin="constructor"`: the call that ran. A module
    built earlier, or unpickled, has `origin="class-source"`: the call that the source of its
    owners' classes shows, and theirs. Where neither is known, `frames` is empty and the origin
    `"unknown"`: no line is named rather than a wrong one. A deep copy stands where its original
    does.

    Raises:
        NotAModel: `model` is no `torch.nn.Module`.
    """
    from torch import nn

    if not isinstance(model, nn.Module):
        raise NotAModel(
            f"expected a torch.nn.Module, got {type(model).__name__}; pass e.g. locate(model)"
        )
    owners = dict(model.named_modules())
    classes = ClassSource(owners)
    return {path: _site(path, module, classes) for path, module in owners.items()}


def locate_module(module: nn.Module) -> SourceSite:
    """Site of one module whose place in a model is not known."""
    record = _built.get(id(module))
    frames = _frames(record.places) if record is not None else []
    attribute = frames[0].text.partition("=")[0].strip().removeprefix("self.") if frames else ""
    if not attribute.isidentifier():
        attribute = ""
    return SourceSite(
        frames=frames, attribute=attribute, origin="constructor" if frames else "unknown"
    )


def _site(path: str, module: nn.Module, classes: ClassSource) -> SourceSite:
    record = _built.get(id(module))
    frames = _frames(record.places) if record is not None else []
    if record is not None and frames and not record.unpickled:
        return SourceSite(frames=frames, attribute=path, origin="constructor")
    read = classes.frames(path)
    if read:
        return SourceSite(
            frames=[*read, *frames][:_MAX_FRAMES], attribute=path, origin="class-source"
        )
    return SourceSite(frames=frames, attribute=path, origin="call" if frames else "unknown")


def _frames(places: list[Place]) -> list[SourceFrame]:
    found = (source_frame(place.code, place.instruction, place.line) for place in places)
    return _told([frame for frame in found if frame is not None])


def _told(frames: list[SourceFrame]) -> list[SourceFrame]:
    """The frames worth keeping of a deep stack: the innermost, and the user's own."""
    own = [n for n, frame in enumerate(frames) if is_users_source(frame.file)]
    if own:
        # What called the script (a test runner, a notebook's kernel) built nothing.
        frames = frames[: own[-1] + 1]
    if len(frames) <= _MAX_FRAMES:
        return frames
    wanted = [*range(_INNERMOST), *(n for n in own if n >= _INNERMOST)]
    return [frames[n] for n in wanted[:_MAX_FRAMES]]
