"""Observation from within a training library's own loop; each library is loaded when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradtracer.callbacks.lightning import GradTracerCallback as LightningCallback
    from gradtracer.callbacks.transformers import GradTracerCallback as TransformersCallback


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
