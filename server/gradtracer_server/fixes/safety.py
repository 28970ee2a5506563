"""Which fixes are safe to make without looking: a saved checkpoint still loads afterwards.

Safe ones change how a model is trained, or what is said about it. A fix that is not named here may
change the shape of a weight or what the model computes, and waits for `--unsafe`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradtracer_server.fixes.proposal import ProposedFix

SAFE = frozenset(
    {
        "clear-gradients",
        "clip-gradients",
        "decay-tables",
        "edit-booster-parameter",
        "enable-auto-fix",
        "raise-learning-rate",
        "reduce-learning-rate",
        "reduce-weight-decay",
        "set-weight-decay",
        "suppress",
        "train-longer",
    }
)


def is_safe(fix: ProposedFix) -> bool:
    """Whether the model that the text defines stays the same model."""
    return fix.name in SAFE
