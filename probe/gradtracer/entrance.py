"""`watch(model)`: the one call, whatever kind of model it is given. Loads what that kind needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradtracer.analyzers.tree_reading import library_of
from gradtracer.callsite import call_site
from gradtracer.exceptions import NothingToWatch, UsageError
from gradtracer.project import main_script, project_root
from gradtracer.run import Run
from gradtracer.settings import load_settings

if TYPE_CHECKING:
    from torch.optim import Optimizer


def watch(
    model: Any,
    optimizer: Optimizer | None = None,
    *,
    total_steps: int | None = None,
    auto_fix: bool | None = None,
    track_interval: int | None = None,
    **settings: Any,
) -> Run:
    """Observe `model` until the process ends or `run.finish()` is called.

    Call it once, after the model is built and before it trains; the training stays as it is. A
    second call on the same line begins a new run, on another line it joins the one that is open.

    Args:
        model: a `torch.nn.Module`, of which all that can be observed is; or an estimator of
            xgboost, lightgbm or catboost, whose later fits are.
        optimizer: of a module: checked against it and said when they do not belong together. Steps
            are seen without it, too.
        total_steps: optimizer steps planned; gives the progress bar its end. Boosters tell it.
        auto_fix: shrink the updates of rows named by ZOMBIE_EMBEDDINGS.
        track_interval: follow gradients at 1/track_interval of the steps, in bursts.
        settings: any other field of `gradtracer.settings.Settings`.

    Raises:
        NothingToWatch: it is no such model.
        MissingLibrary: the library of the model cannot be imported.
        SettingsError: a setting with an unknown name or a value that does not fit.
        UsageError: `total_steps` is below 1.
    """
    if total_steps is not None and total_steps < 1:
        raise UsageError(
            f"expected total_steps of 1 or more, got {total_steps}; pass e.g. epochs * "
            "len(loader), or leave it out where it is not known"
        )
    given: dict[str, Any] = {"auto_fix": auto_fix, "track_interval": track_interval, **settings}
    library = library_of(model)
    if library is None:
        from gradtracer.watching import watch as watch_module

        return watch_module(model, optimizer, total_steps=total_steps, **given)
    if not hasattr(model, "fit"):
        raise NothingToWatch(
            f"expected an estimator, got {type(model).__name__}, which has no fit; pass "
            f"callbacks=[gradtracer.{library}_callback()] to the call that trains it"
        )
    from gradtracer.callbacks.estimators import watch_estimator
    from gradtracer.joining import join_or_begin

    site = call_site()
    merged = load_settings(project_root(main_script()), **given)
    watch_estimator(model, library, given, site)
    return join_or_begin(merged, site, total_steps=total_steps)
