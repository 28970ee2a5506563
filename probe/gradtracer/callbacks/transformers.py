"""The callback for the Trainer of Hugging Face Transformers."""

from __future__ import annotations

from typing import Any

from gradtracer.callbacks.fit import Fit
from gradtracer.exceptions import MissingLibrary

try:
    from transformers.trainer_callback import TrainerCallback
except ImportError as error:
    raise MissingLibrary(
        "gradtracer.callbacks.transformers needs Hugging Face Transformers with its trainer, "
        f"which cannot be imported ({error}): pip install transformers accelerate"
    ) from None

_Base: Any = TrainerCallback


class GradTracerCallback(_Base):
    """Observes the model from the start of training to its end.

    The Trainer tells its callbacks of no exception: a training that fails ends its run when the
    process ends, or when training begins again.

    Args:
        auto_fix: as for `gradtracer.watch`, like the others.
        track_interval: follow gradients at 1/track_interval of the steps, in bursts.
        settings: any other field of `gradtracer.settings.Settings`.

    Raises:
        SettingsError: a setting with an unknown name or a value that does not fit.
    """

    def __init__(
        self,
        *,
        auto_fix: bool | None = None,
        track_interval: int | None = None,
        **settings: object,
    ) -> None:
        super().__init__()
        self._fit = Fit({"auto_fix": auto_fix, "track_interval": track_interval, **settings})

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        *,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Begin, with the number of steps that the Trainer has planned."""
        self._fit.begin(model, optimizer, lambda: state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, *, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Show what the Trainer logs; they are numbers already."""
        self._fit.log(None, lambda: logs or {})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End."""
        self._fit.end()
