"""CatBoost's `_fit`, through which every training of its estimators goes. Loads no library.

For each call of a callback CatBoost makes a dictionary of all metrics of all rounds. So a callback
of ours is taken out of the arguments where CatBoost's files tell the same, and follows those.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Protocol

_PATCHED = "_gradtracer_patched"
_fitting: set[int] = set()


class Follows(Protocol):
    """A callback that can do without being called."""

    def follow(self, model: Any, given: Mapping[str, Any]) -> bool:
        """Observe a `fit` that is about to begin with these arguments; False where it cannot."""
        ...

    def finished(self, model: Any) -> None:
        """`fit` has returned."""
        ...

    def failed(self) -> None:
        """`fit` has raised."""
        ...


@contextmanager
def fitting(model: Any, callback: Follows) -> Generator[None]:
    """Around the call of `fit`, of whose end CatBoost tells nobody."""
    _fitting.add(id(model))
    try:
        yield
    except BaseException:
        callback.failed()
        raise
    finally:
        _fitting.discard(id(model))
    callback.finished(model)


def is_observed(model: Any) -> bool:
    """Whether a `fit` of this model is going on that is observed already."""
    return id(model) in _fitting


def has_ours(callbacks: Iterable[Any]) -> bool:
    """Whether a callback of ours, of whichever library, is among them."""
    return any(type(each).__module__.startswith("gradtracer.") for each in callbacks)


def take_callbacks_out(base: Any, ours: type[Follows]) -> None:
    """Have `_fit` of CatBoost's base class look for callbacks of a class of `ours`."""
    if not hasattr(base._fit, _PATCHED):
        base._fit = _without_callback(base._fit, ours)


def _without_callback(fit: Any, ours: type[Follows]) -> Any:
    signature = inspect.signature(fit)

    @wraps(fit)
    def observed(model: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(model, *args, **kwargs)
        kept: list[Any] = []
        with ExitStack() as ends:
            for each in given.arguments.get("callbacks") or ():
                follows = isinstance(each, ours) and not is_observed(model)
                if follows and each.follow(model, given.arguments):
                    ends.enter_context(fitting(model, each))
                else:
                    kept.append(each)
            given.arguments["callbacks"] = kept or None
            return fit(*given.args, **given.kwargs)

    setattr(observed, _PATCHED, True)
    return observed
