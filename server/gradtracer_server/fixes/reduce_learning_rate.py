"""Lower the learning rate: of everything, or of one layer in a parameter group of its own."""

from __future__ import annotations

from gradtracer_server.fixes.learning_rate import find, planned
from gradtracer_server.fixes.proposal import FixContext, Plan

NAME = "reduce-learning-rate"
TITLE = "Lower the learning rate"


def plan(context: FixContext) -> Plan:
    """Edit the number that sets the rate, or make the group for which it is set."""
    return planned(find(context, _settled), "Lower", context)


def locate(context: FixContext) -> None:
    """Find what sets the rate, and go no further. Raises as `plan` does."""
    find(context, _settled)


def _settled(rate: float, offered: float, measured: float) -> bool:
    # What the run had comes from the very text, but through a float of its own.
    return rate <= offered or rate < measured * (1 - 1e-6)
