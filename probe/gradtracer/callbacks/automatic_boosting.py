"""Boosters under `python -m gradtracer`: every training call gets our callback, with no edit.

The functions and methods that train are replaced as their modules are imported, before anybody has
taken hold of them. Outside this mode nothing of the libraries is touched. Imports nothing heavy.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gradtracer.callbacks.catboost_fit import fitting, has_ours, is_observed
from gradtracer.importing import when_imported

if TYPE_CHECKING:
    from gradtracer.analyzers.tree_reading import Library

_log = logging.getLogger("gradtracer")


def observe_boosters(settings: dict[str, object], began: Callable[[], None]) -> None:
    """Observe every booster that this process trains from now on; `began` is told of each."""

    def replace(library: Library, *names: str) -> Callable[[ModuleType], None]:
        def on_import(module: ModuleType) -> None:
            for name in names:
                owner: Any = module.CatBoost if library == "catboost" else module
                setattr(owner, name, _observed(getattr(owner, name), library, settings, began))

        return on_import

    when_imported("xgboost.training", replace("xgboost", "train", "cv"))
    when_imported("lightgbm.engine", replace("lightgbm", "train", "cv"))
    when_imported("catboost.core", replace("catboost", "_fit"))


def _observed(
    train: Any, library: Library, settings: dict[str, object], began: Callable[[], None]
) -> Any:
    """The same function, which adds our callback where the script adds none of ours itself."""

    @wraps(train)
    def observed(*args: Any, **kwargs: Any) -> Any:
        callback: Any = None
        try:
            passed = inspect.signature(train).bind(*args, **kwargs)
            given = list(passed.arguments.get("callbacks") or ())
            began()
            observed_already = library == "catboost" and is_observed(args[0])
            if not observed_already and not has_ours(given):
                callback = _callback(library, settings)
                _add(passed.arguments, callback, args)
                args, kwargs = passed.args, passed.kwargs
        except Exception:
            callback = None
            _log.exception("GradTracer cannot observe this booster; training is not affected")
        if library != "catboost" or callback is None:
            return train(*args, **kwargs)
        with fitting(args[0], callback):
            return train(*args, **kwargs)

    return observed


def _add(given: dict[str, Any], callback: Any, args: tuple[Any, ...]) -> None:
    from gradtracer.callbacks.estimators import add_callback

    add_callback(given, callback, args[0] if args else None)


def _callback(library: Library, settings: dict[str, object]) -> Any:
    from gradtracer.callbacks.estimators import callback_of
    from gradtracer_schemas import SourceSite

    return callback_of(library, settings, SourceSite(), automatic=True)
