"""A run over one fit of a training library, for its callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gradtracer.callbacks.guard import never_raising
from gradtracer.callsite import call_site
from gradtracer.ending import failure_place
from gradtracer.joining import join_or_begin
from gradtracer.project import main_script, project_root
from gradtracer.run import Run, open_run
from gradtracer.settings import load_settings
from gradtracer.watching import observe


class Fit:
    """Begins a run when a fit begins and ends it with the fit.

    A run that is open already, as the script called `gradtracer.watch`, is joined and left open.
    The library may copy and pickle its callbacks: the run stays behind.
    """

    def __init__(self, settings: dict[str, object]) -> None:
        """To be made where the user's code makes the callback. Raises SettingsError."""
        self.broken = False
        self._site = call_site()
        self._given = settings
        self._run: Run | None = None
        self._own = False
        load_settings(project_root(main_script()), **settings)

    @never_raising
    def begin(self, model: nn.Module, optimizer: Any, total_steps: Callable[[], float]) -> None:
        """The fit of `model` begins. `total_steps` gives infinity or -1 where it is not known."""
        planned = total_steps()
        steps = int(planned) if 0 < planned < float("inf") else None
        settings = load_settings(project_root(main_script()), **self._given)
        before = open_run()
        run = join_or_begin(settings, self._site, total_steps=steps)
        self._run, self._own = run, run is not before
        if run.total_steps is None:
            run.total_steps = steps
        observe(model, run, settings=settings, site=self._site, optimizer=optimizer)

    @never_raising
    def log(self, loss: Any, metrics: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Show loss and metrics; tensors are read later, by the reporting thread."""
        if self._run is not None:
            self._run.log(loss)
            for name, value in metrics().items():
                self._run.log(**{name: value})

    @never_raising
    def end(self, error: BaseException | None = None) -> None:
        """The fit has ended, by `error` or well; a second call does nothing."""
        run, self._run = self._run, None
        if run is None or not self._own:
            return
        if error is None:
            run.finish()
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            # Lightning turns SIGTERM into an exception that is a SystemExit.
            run.finish("interrupted", type(error).__name__)
        else:
            place = failure_place(error, error.__traceback__)
            run.finish("failed", f"{place.exception}: {place.message[:200]}", place)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_run": None, "_own": False}

    def __deepcopy__(self, memo: dict[int, Any]) -> Fit:
        copy = object.__new__(type(self))
        vars(copy).update(self.__getstate__())
        return copy
