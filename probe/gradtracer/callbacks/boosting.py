"""A run over one training call of a boosting library, for its callback. Loads no torch."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradtracer.analyzers.booster import BoosterTracker, Snapshot
from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer.analyzers.metric_curves import Series
from gradtracer.callbacks.catboost_files import MetricFiles
from gradtracer.callbacks.guard import never_raising
from gradtracer.callbacks.library_frames import GivenArguments, LibraryFrames, OngoingCall
from gradtracer.callsite import call_site
from gradtracer.joining import join_or_begin
from gradtracer.project import is_library_file, main_script, project_root
from gradtracer.run import Run, begin_run, open_run
from gradtracer.settings import load_settings
from gradtracer_schemas import SourceSite

_latest: weakref.WeakSet[Boosting] = weakref.WeakSet()
"""The one that began last: its call may have ended without a word."""


class Boosting:
    """Begins a run when a training call begins and ends it with the call.

    A run that is open already, as the script called `gradtracer.watch`, is joined and left open.
    The library may copy and pickle its callbacks: the run stays behind, and where it is used again
    in another process, a run of its own begins there.
    """

    def __init__(
        self,
        settings: dict[str, object],
        site: SourceSite | None = None,
        *,
        automatic: bool = False,
    ) -> None:
        """To be made where the user's code makes the callback. Raises SettingsError.

        `automatic`: no code of the user's asked for it.
        """
        self.broken = False
        self._made_at = _own_code(call_site() if site is None else site)
        self._given = settings
        self._automatic = automatic
        self._script = main_script()
        self._root = project_root(self._script)
        self._process = os.getpid()
        self._run: Run | None = None
        self._own = False
        self._tracker: BoosterTracker | None = None
        self._files: MetricFiles | None = None
        self._call: OngoingCall | None = None
        self._over = False
        self._lock = threading.Lock()
        self._ending: Callable[[], tuple[int, Snapshot] | None] | None = None
        load_settings(self._root, **settings)

    @property
    def active(self) -> bool:
        """Whether a training call is being observed."""
        return self._tracker is not None and not self.broken

    @never_raising
    def begin(
        self,
        facts: BoosterFacts,
        frames: LibraryFrames | GivenArguments,
        files: MetricFiles | None = None,
    ) -> None:
        """The training call whose frames these are begins; `files` tell of it where nobody does."""
        call = frames.call()
        for latest in list(_latest):
            latest.conclude(call)
        _latest.clear()
        _latest.add(self)
        self._leave()
        settings = load_settings(self._root, **self._given)
        here = _own_code(call_site())
        root, script = self._home()
        if root is not None:
            here = _below(here, root)
        # On a worker of a cluster no code of the user's is on the stack.
        site = here if here.frames else self._made_at
        before = open_run()
        if self._automatic:
            run = before or begin_run(
                Run(settings=settings, watch_site=SourceSite(), automatic=True)
            )
        else:
            run = join_or_begin(
                settings, site, total_steps=facts.total_rounds, root=root, script=script
            )
        self._run, self._own = run, run is not before
        tracker = BoosterTracker(run, facts, _name(site, facts), site, self._made_at)
        self._tracker, self._call = tracker, call
        tracker.before_report = self._look_whether_left if files is None else self.look
        self._files = files

    @never_raising
    def rounds_done(self, rounds: int, series: Series, snapshot: Snapshot | None) -> None:
        """So many rounds are done, with these metrics."""
        if self._tracker is not None:
            self._tracker.series = series
            self._tracker.rounds_done(rounds, snapshot)

    @never_raising
    def end(self, rounds: int, snapshot: Snapshot | None) -> None:
        """The training call has done its last round."""
        if self._tracker is not None:
            self._tracker.before_report = None
            self._tracker.all_rounds_done(rounds, snapshot)
        self._leave()

    @never_raising
    def look(self) -> None:
        """Learn from the library's files how far it is."""
        with self._lock:
            files, tracker = self._files, self._tracker
            if files is not None and tracker is not None:
                files.read()
                tracker.series = files.series
                tracker.rounds_done(files.rounds, None)

    @never_raising
    def abandon(self) -> None:
        """The training call has raised."""
        if self._tracker is not None:
            self._tracker.before_report = None
        self._leave()

    def at_the_end(self, ending: Callable[[], tuple[int, Snapshot] | None]) -> None:
        """Where the library does not tell when it ends: what to copy then, by `ending`."""
        if self._tracker is not None:
            self._ending = ending

    def conclude(self, following: OngoingCall | None) -> None:
        """Before another call is observed: end this one, if it is over and nobody said so."""
        self._take_the_rest(following)
        if self._over:
            self._leave()

    def _home(self) -> tuple[Path | None, Path | None]:
        """Project and script of who made this, in a process that is another one's worker.

        Spark's workers run a script of its own, and know nothing of the user's.
        """
        if os.getpid() == self._process or not self._root.is_dir():
            return None, None
        return self._root, self._script

    def _look_whether_left(self) -> None:
        """In the reporting thread, before each report."""
        run = self._run
        if self._take_the_rest() and self._own and run is not None and run.outcome is None:
            # To finish waits for the reporting thread, which this is.
            threading.Thread(target=run.finish, daemon=True).start()

    def _take_the_rest(self, following: OngoingCall | None = None) -> bool:
        """Whether the call has ended without a word; then copies what is left, once."""
        with self._lock:
            tracker, call = self._tracker, self._call
            if self._over or tracker is None or call is None:
                return False
            if call.running and not call.gave_its_frame_to(following):
                return False
            self._over = True
            tracker.before_report = None
            ending = self._ending() if self._ending is not None else None
            if ending is not None:
                tracker.all_rounds_done(*ending)
        return True

    def _leave(self) -> None:
        run, self._run, self._tracker, self._ending = self._run, None, None, None
        self._files = None
        self._call, self._over = None, False
        if run is not None and self._own:
            run.finish()

    def __getstate__(self) -> dict[str, Any]:
        here = dict.fromkeys(("_run", "_tracker", "_files", "_call", "_ending", "_lock"))
        return {**vars(self), **here, "_own": False, "_over": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Boosting:
        copy = object.__new__(type(self))
        copy.__setstate__(self.__getstate__())
        return copy


def _own_code(site: SourceSite) -> SourceSite:
    """The site without frames of installed libraries, such as a search over parameters."""
    frames = [frame for frame in site.frames if not _is_installed(frame.file)]
    return SourceSite(frames=frames, origin="call" if frames else "unknown")


def _below(site: SourceSite, root: Path) -> SourceSite:
    """The site without frames outside a project."""
    frames = [frame for frame in site.frames if Path(frame.file).is_relative_to(root)]
    return SourceSite(frames=frames, origin="call" if frames else "unknown")


def _is_installed(file: str) -> bool:
    # A path may add the packages of another environment, which are none of this one's folders.
    return is_library_file(file) or "site-packages" in Path(file).parts


def _name(site: SourceSite, facts: BoosterFacts) -> str:
    """What the call's result is called in the script, or the estimator that it fits."""
    for frame in site.frames[:1]:
        target, equals, _ = frame.text.partition("=")
        target = target.partition(":")[0].strip().removeprefix("self.")
        if equals and target.isidentifier():
            return target
        fitted = frame.text.strip().partition(".fit(")[0].removeprefix("self.")
        if fitted.isidentifier():
            return fitted
    return facts.kind.lower()
