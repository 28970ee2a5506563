"""Which steps an observer follows, without following them."""

from __future__ import annotations

import torch

from gradtracer.analyzers.table_observer import TableObserver


def follows_next(observer: TableObserver, batch: int) -> bool:
    """Take a step of `batch` look-ups; whether it is followed."""
    if observer.pauses:
        observer.look_up(torch.zeros(1, dtype=torch.int64), trains=True)
        observer.pass_over()
        return False
    observer._continue_burst(batch)
    return True
