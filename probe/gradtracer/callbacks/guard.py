"""What keeps an error of ours out of a training library's loop. Loads no library."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

_log = logging.getLogger("gradtracer")


class Breakable(Protocol):
    """A callback's work that may switch itself off."""

    broken: bool
    """Whether it has."""


_Part = TypeVar("_Part", bound=Breakable)
_Arguments = ParamSpec("_Arguments")


def never_raising(
    method: Callable[Concatenate[_Part, _Arguments], None],
) -> Callable[Concatenate[_Part, _Arguments], None]:
    """Log once what goes wrong, and do nothing from then on."""

    @wraps(method)
    def guarded(self: _Part, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        if self.broken:
            return
        try:
            method(self, *args, **kwargs)
        except Exception:
            self.broken = True
            _log.exception("GradTracer's callback has switched itself off; training goes on")

    return guarded
