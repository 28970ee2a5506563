"""Observation from within a training library's own loop; each library is loaded when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradtracer.callbacks.catboost import GradTracerCallback as CatBoostCallback
    from gradtracer.callbacks.lightgbm import GradTracerCallback as LightGBMCallback
    from gradtracer.callbacks.lightning import GradTracerCallback as LightningCallback
    from gradtracer.callbacks.transformers import GradTracerCallback as TransformersCallback
    from gradtracer.callbacks.xgboost import GradTracerCallback as XGBoostCallback


def lightning_callback(
    *, auto_fix: bool | None = None, track_interval: int | None = None, **settings: object
) -> LightningCallback:
    """A callback for Lightning: `Trainer(callbacks=[gradtracer.lightning_callback()])`.

    Arguments as for `gradtracer.watch`.

    Raises:
        MissingLibrary: neither `lightning` nor `pytorch_lightning` is installed.
        SettingsError: a setting with an unknown name or a value that does not fit.
    """
    from gradtracer.callbacks.lightning import GradTracerCallback

    return GradTracerCallback(auto_fix=auto_fix, track_interval=track_interval, **settings)


def transformers_callback(
    *, auto_fix: bool | None = None, track_interval: int | None = None, **settings: object
) -> TransformersCallback:
    """A callback for Transformers: `Trainer(..., callbacks=[gradtracer.transformers_callback()])`.

    Arguments as for `gradtracer.watch`.

    Raises:
        MissingLibrary: `transformers` is not installed.
        SettingsError: a setting with an unknown name or a value that does not fit.
    """
    from gradtracer.callbacks.transformers import GradTracerCallback

    return GradTracerCallback(auto_fix=auto_fix, track_interval=track_interval, **settings)


def xgboost_callback(**settings: Any) -> XGBoostCallback:
    """A callback for XGBoost: `xgb.train(..., callbacks=[gradtracer.xgboost_callback()])`.

    `settings` are fields of `gradtracer.settings.Settings`. Loads no torch.

    Raises:
        MissingLibrary: `xgboost` is not installed.
        SettingsError: a setting with an unknown name or a value that does not fit.
    """
    from gradtracer.callbacks.xgboost import GradTracerCallback

    return GradTracerCallback(**settings)


def lightgbm_callback(**settings: Any) -> LightGBMCallback:
    """A callback for LightGBM: `lgb.train(..., callbacks=[gradtracer.lightgbm_callback()])`.

    `settings` are fields of `gradtracer.settings.Settings`. Loads no torch.

    Raises:
        MissingLibrary: `lightgbm` is not installed.
        SettingsError: a setting with an unknown name or a value that does not fit.
    """
    from gradtracer.callbacks.lightgbm import GradTracerCallback

    return GradTracerCallback(**settings)


def catboost_callback(**settings: Any) -> CatBoostCallback:
    """A callback for CatBoost: `model.fit(..., callbacks=[gradtracer.catboost_callback()])`.

    `settings` are fields of `gradtracer.settings.Settings`. Loads no torch.

    Raises:
        MissingLibrary: `catboost` is not installed.
        SettingsError: a setting with an unknown name or a value that does not fit.
    """
    from gradtracer.callbacks.catboost import GradTracerCallback

    return GradTracerCallback(**settings)
