"""`watch(estimator)`: every later `fit` of one scikit-learn style estimator is observed.

The estimator's class gets a `fit` that looks whether its own object is watched; the object itself
gets one plain attribute, so that it can be pickled, copied and cloned as before. A clone is another
estimator, which nobody asked to watch.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any

from gradtracer.analyzers.tree_reading import Library
from gradtracer.callbacks.catboost_fit import fitting, has_ours
from gradtracer_schemas import SourceSite

_MARK = "_gradtracer_watch"
_PATCHED = "_gradtracer_patched"


def watch_estimator(
    estimator: Any, library: Library, settings: dict[str, Any], site: SourceSite
) -> None:
    """Observe the fits of `estimator`; `site` is the line that asked for it.

    Raises:
        MissingLibrary: its library cannot be imported.
        SettingsError: a setting with an unknown name or a value that does not fit.
    """
    callback_of(library, settings, site)
    owner = next(base for base in type(estimator).__mro__ if "fit" in vars(base))
    if not hasattr(owner.fit, _PATCHED):
        owner.fit = _observed(owner.fit)
    vars(estimator)[_MARK] = (library, settings, site)


def callback_of(
    library: Library, settings: dict[str, Any], site: SourceSite, *, automatic: bool = False
) -> Any:
    """The callback for a library, whose module alone is loaded."""
    if library == "xgboost":
        from gradtracer.callbacks.xgboost import GradTracerCallback as Callback
    elif library == "lightgbm":
        from gradtracer.callbacks.lightgbm import GradTracerCallback as Callback
    else:
        from gradtracer.callbacks.catboost import GradTracerCallback as Callback
    return Callback(site=site, automatic=automatic, **settings)


def _observed(fit: Any) -> Any:
    """The same method, which passes our callback on where its object is watched."""

    @wraps(fit)
    def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Taken away meanwhile: a fit may call that of its base class.
        watched = vars(self).pop(_MARK, None)
        if watched is None:
            return fit(self, *args, **kwargs)
        try:
            library, settings, site = watched
            passed = inspect.signature(fit).bind(self, *args, **kwargs)
            given = self.callbacks if library == "xgboost" else passed.arguments.get("callbacks")
            if has_ours(given or ()):
                return fit(self, *args, **kwargs)
            callback = callback_of(library, settings, site)
            if library == "xgboost":
                return _fit_xgboost(fit, self, args, kwargs, callback)
            add_callback(passed.arguments, callback, self)
            if library != "catboost":
                return fit(*passed.args, **passed.kwargs)
            with fitting(self, callback):
                return fit(*passed.args, **passed.kwargs)
        finally:
            vars(self)[_MARK] = watched

    setattr(observed, _PATCHED, True)
    return observed


def _fit_xgboost(fit: Any, estimator: Any, args: Any, kwargs: Any, callback: Any) -> Any:
    """XGBoost's estimators take callbacks as a parameter of the object, not of `fit`."""
    own = estimator.callbacks
    estimator.callbacks = [*(own or ()), callback]
    try:
        return fit(estimator, *args, **kwargs)
    finally:
        estimator.callbacks = own


def add_callback(given: dict[str, Any], callback: Any, owner: Any) -> None:
    """Have the training of `owner` observed that is about to begin with the arguments `given`."""
    follow = getattr(callback, "follow", None)
    if follow is None or not follow(owner, given):
        given["callbacks"] = [*(given.get("callbacks") or ()), callback]
