"""Where the user's code built each module.

Primary source: PyTorch's own registration hooks. While a layer's constructor runs it registers its
parameters, and the frames then on the stack hold the call that built it. Fallback for modules
built earlier: the source of the parent's class. Frames are kept as (code, instruction) and turned
into statements only when a run asks, so that building a model costs microseconds.
"""

from __future__ import annotations

import inspect
import weakref
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from gradtracer.importing import when_imported
from gradtracer.source import class_attribute_frame, source_frame
from gradtracer_schemas import SourceFrame, SourceSite

if TYPE_CHECKING:
    from torch import nn

_MAX_FRAMES = 12
_OUR_PACKAGE = __name__.partition(".")[0]


class Place(NamedTuple):
    """A call on the stack."""

    code: CodeType
    instruction: int
    line: int


_built: weakref.WeakKeyDictionary[nn.Module, list[Place]] = weakref.WeakKeyDictionary()


def install() -> None:
    """Start recording construction sites, now or as soon as torch has been imported."""
    when_imported("torch.nn.modules.module", _install_hooks)


def _install_hooks(module: Any) -> None:
    module.register_module_parameter_registration_hook(_on_registration)
    module.register_module_module_registration_hook(_on_module_registration)


def _on_registration(module: nn.Module, _name: str, _value: object) -> None:
    if module not in _built:
        _built[module] = _stack(_caller(), built=module)


def _on_module_registration(parent: nn.Module, name: str, child: nn.Module | None) -> None:
    _on_registration(parent, name, child)
    # A module with neither parameters nor children is first met here.
    if child is not None and child not in _built:
        _built[child] = _stack(_caller(), built=child)


def _caller() -> FrameType | None:
    here = inspect.currentframe()
    return here.f_back if here is not None else None


def _stack(frame: FrameType | None, built: object = None) -> list[Place]:
    places: list[Place] = []
    while frame is not None and len(places) < _MAX_FRAMES:
        if not _is_foreign(frame) and not _is_own_constructor(frame, built):
            places.append(Place(frame.f_code, frame.f_lasti, frame.f_lineno))
        frame = frame.f_back
    return places


def _is_foreign(frame: FrameType) -> bool:
    # A module started by `python -m` is named __main__; its package is what it was.
    names = frame.f_globals
    package = str(names.get("__package__") or names.get("__name__", "")).partition(".")[0]
    return package in _FOREIGN


_FOREIGN = frozenset(
    {"torch", "xgboost", "lightgbm", "catboost", _OUR_PACKAGE, "importlib", "runpy", "threading"}
)


def _is_own_constructor(frame: FrameType, built: object) -> bool:
    code = frame.f_code
    return (
        built is not None
        and code.co_name == "__init__"
        and code.co_argcount > 0
        and frame.f_locals.get(code.co_varnames[0]) is built
    )


def built_modules() -> list[nn.Module]:
    """Every module alive that was built since recording began, in that order."""
    return list(_built)


def call_site() -> SourceSite:
    """Site of the innermost call outside this package, e.g. the user's `watch(...)`."""
    return site_at(calling_places())


def calling_places(built: object = None) -> list[Place]:
    """The user's calls that lead here, innermost first, without those of `built`'s constructor."""
    return _stack(_caller(), built)


def site_at(places: list[Place]) -> SourceSite:
    """The statements of a chain of calls."""
    frames = _frames(places)
    return SourceSite(frames=frames, origin="call" if frames else "unknown")


def locate_modules(model: nn.Module) -> dict[str, SourceSite]:
    """Site of every module of `model`, by dotted path; the model itself under ''."""
    owners: dict[str, nn.Module] = dict(model.named_modules())
    return {path: _site(path, module, owners) for path, module in owners.items()}


def locate_module(module: nn.Module) -> SourceSite:
    """Site of one module whose place in a model is not known."""
    frames = _frames(_built.get(module, []))
    attribute = frames[0].text.partition("=")[0].strip().removeprefix("self.") if frames else ""
    if not attribute.isidentifier():
        attribute = ""
    return SourceSite(
        frames=frames, attribute=attribute, origin="constructor" if frames else "unknown"
    )


def _site(path: str, module: nn.Module, owners: dict[str, nn.Module]) -> SourceSite:
    frames = _frames(_built.get(module, []))
    if frames:
        return SourceSite(frames=frames, attribute=path, origin="constructor")
    parent_path, _, name = path.rpartition(".")
    while path:
        # A child of a container (`layers.0`) is defined where its container's owner names it.
        found = class_attribute_frame(type(owners[parent_path]), name)
        if found is not None:
            return SourceSite(frames=[found], attribute=path, origin="class-source")
        if not parent_path:
            break
        parent_path, _, name = parent_path.rpartition(".")
    return SourceSite(attribute=path)


def _frames(places: list[Place]) -> list[SourceFrame]:
    return [
        frame
        for place in places
        if (frame := source_frame(place.code, place.instruction, place.line)) is not None
    ]
