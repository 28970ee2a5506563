"""Which recorded files may be read and edited: those inside a workspace folder, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class Workspace:
    """The folders a user has opened."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = [Path(os.path.normpath(root.absolute())) for root in roots]
        """The folders, absolute."""
        self._real = [root.resolve() for root in self.roots]
        self._renamed: dict[Path, Path] = {}

    def rename(self, old: Path, new: Path) -> None:
        """A file or folder has another name now: what runs recorded under the old one is there."""
        self._renamed = {was: _moved(now, old, new) for was, now in self._renamed.items()}
        self._renamed.pop(new, None)
        self._renamed[old] = new

    def resolve_file(self, file: str, run_root: str, runs_folder_root: Path) -> Path | None:
        """The workspace's own file that a run recorded as `file`; None when there is none.

        A file below `run_root`, the folder that held `.gradtracer` for the run, is also looked for
        below `runs_folder_root`, which holds it now: the tree may have moved. A path that leads
        out of the workspace, by `..` or by a link, is not followed: nothing there is touched.
        """
        candidates = self._candidates(file, run_root, runs_folder_root)
        return next((found for each in candidates if (found := self._inside(each))), None)

    def lost_file(self, file: str, run_root: str, runs_folder_root: Path) -> Path | None:
        """Where the workspace should have a file that a run recorded, and has none."""
        candidates = self._candidates(file, run_root, runs_folder_root)
        inside = [each for each in candidates if self._named_inside(each)]
        try:
            return None if not inside or any(map(os.path.lexists, inside)) else inside[-1]
        except ValueError:
            return None

    def _candidates(self, file: str, run_root: str, runs_folder_root: Path) -> list[Path]:
        if not file or "\0" in file or not Path(file).is_absolute():
            return []
        recorded = Path(os.path.normpath(file))
        candidates = [recorded]
        base = Path(os.path.normpath(run_root))
        if base.is_absolute() and recorded.is_relative_to(base):
            holder = Path(os.path.normpath(runs_folder_root.absolute()))
            candidates.append(holder / recorded.relative_to(base))
        if self._renamed:
            candidates = [self._now(Path(os.path.realpath(each))) for each in candidates]
        return candidates

    def _named_inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in (*self.roots, *self._real))

    def _now(self, path: Path) -> Path:
        """A path under the name that it was last given."""
        for old, new in self._renamed.items():
            if path.is_relative_to(old):
                return _moved(path, old, new)
        return path

    def _inside(self, candidate: Path) -> Path | None:
        # By its name alone first: even to ask about a path outside would touch it.
        if not self._named_inside(candidate):
            return None
        try:
            real = Path(os.path.realpath(candidate))
            for root, real_root in zip(self.roots, self._real, strict=True):
                if real.is_relative_to(real_root):
                    found = root / real.relative_to(real_root)
                    return found if found.is_file() else None
        except (OSError, ValueError):
            # A name that the file system cannot hold: too long, or half a surrogate pair.
            pass
        return None


def _moved(path: Path, old: Path, new: Path) -> Path:
    return new / path.relative_to(old) if path.is_relative_to(old) else path
