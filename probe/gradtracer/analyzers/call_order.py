"""Whether a loop calls backward, step and zero_grad in an order that shows a table's gradient."""

from __future__ import annotations

import logging

_log = logging.getLogger("gradtracer")

_WRONG_ORDER = 3


class CallOrder:
    """Says once that steps find look-ups and no gradient, three times from the beginning."""

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self._without_gradient = 0
        self.is_right = False
        """Whether a step has found a gradient: then there is nothing more to notice."""

    def notice(self, *, gradient: bool, expected: bool) -> None:
        """A step is about to be taken; with a `gradient`, or without one that was `expected`."""
        if gradient:
            self.is_right = True
        elif expected:
            self._without_gradient += 1
            if self._without_gradient == _WRONG_ORDER:
                _log.warning(
                    "%s is looked up, but no step finds a gradient of it: its look-ups are counted "
                    "and nothing else; call backward() before step(), and zero_grad() after it or "
                    "before the forward pass",
                    self._layer,
                )
