"""Lightning's callback: `Trainer(callbacks=[GradTracerCallback()])`.

For `lightning` and for `pytorch_lightning`, whichever the script uses.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from gradtracer.callbacks.fit import Fit
from gradtracer.exceptions import MissingLibrary

_HOMES = ("lightning.pytorch.callbacks", "pytorch_lightning.callbacks")


def _callback_classes() -> tuple[type, ...]:
    """Base class of each Lightning that the script has imported, else of one that is installed.

    The two packages are twins and know nothing of each other.
    """
    imported = [home for home in _HOMES if home.partition(".")[0] in sys.modules]
    found: list[type] = []
    for home in imported or _HOMES:
        try:
            found.append(importlib.import_module(home).Callback)
        except ImportError:
            continue
        if not imported:
            break
    if not found:
        raise MissingLibrary(
            "gradtracer.callbacks.lightning needs PyTorch Lightning, which is not installed: "
            "pip install lightning"
        )
    return tuple(found)


_Base: Any = type("_Base", _callback_classes(), {})


class GradTracerCallback(_Base):
    """Observes the model from the start of training to its end.

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

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, here and not in on_fit_start.

        By now Lightning has its own handler of SIGTERM, restored a checkpoint, and run the sanity
        check, which is no training.
        """
        self._fit.begin(pl_module, None, lambda: trainer.estimated_stepping_batches)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the loss at each batch, and the logged metrics when Lightning logs them too.

        To read the metrics makes Lightning wait for the device where one is in its progress bar,
        so it is done at no step at which Lightning does not do so by itself.
        """
        loss = outputs.get("loss") if isinstance(outputs, dict) else None
        logs = trainer.loggers and trainer.global_step % max(1, trainer.log_every_n_steps) == 0
        self._fit.log(loss, (lambda: trainer.callback_metrics) if logs else dict)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Show the metrics of the epoch."""
        self._fit.log(None, lambda: trainer.callback_metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Show the metrics of the validation."""
        self._fit.log(None, lambda: trainer.callback_metrics)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End, before Lightning takes the model off its device."""
        self._fit.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End as failed or interrupted."""
        self._fit.end(exception)
