"""The metrics that CatBoost writes to files while it trains.

It writes them unless `allow_writing_files` is False, whether or not anybody reads them. A callback
costs more, and more with every round: for each call CatBoost builds the whole history of metrics.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from gradtracer.analyzers.metric_curves import Series

_FILES = {"learn": "learn_error.tsv", "validation": "test_error.tsv"}
_OTHER_SET = re.compile(r"(.+):(\d+)\Z")


class MetricFiles:
    """Follows the files of one training; what an earlier one left in the folder is not read."""

    def __init__(self, folder: Path) -> None:
        """To be made before the training begins."""
        self.series: Series = {}
        """One value for each round at which CatBoost measures."""
        self.rounds = 0
        self._files = [_Followed(folder / name, data) for data, name in _FILES.items()]

    @property
    def shared(self) -> bool:
        """Whether another training writes into the same folder: then they tell of neither."""
        return any(each.shared for each in self._files)

    def read(self) -> None:
        """Take in the lines that are new."""
        for each in self._files:
            for number, values in each.new_lines():
                self.rounds = max(self.rounds, number + 1)
                for (data, metric), value in zip(each.columns, values, strict=False):
                    values_so_far = self.series.setdefault(data, {}).setdefault(metric, [])
                    cast(list[object], values_so_far).append(value)


class _Followed:
    """One file, read up to its last whole line."""

    def __init__(self, path: Path, data: str) -> None:
        self.columns: list[tuple[str, str]] = []
        """Data set and metric of each column after the first, which counts rounds from 0."""
        self._path = path
        self._data = data
        self._before = self._state()
        self._at, self._last = 0, -1
        self.shared = False
        """Whether rounds do not follow on each other, or lines are none of CatBoost's."""

    def _state(self) -> Any:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def new_lines(self) -> list[tuple[int, list[float]]]:
        """Number of the round and values of each line that is new; none if they cannot be read."""
        if self.shared or (self._at == 0 and self._state() == self._before):
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                text, _, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        if not text:
            return []
        self._at += len(text) + 1
        lines = [line.split("\t") for line in text.decode(errors="replace").splitlines()]
        if not self.columns:
            self.columns = _columns(lines.pop(0)[1:], self._data)
        try:
            found = [(int(line[0]), [float(value) for value in line[1:]]) for line in lines]
        except ValueError:
            self.shared = True
            return []
        numbers = [self._last, *(number for number, _ in found)]
        self.shared = any(after <= before for before, after in pairwise(numbers))
        self._last = numbers[-1]
        return [] if self.shared else found


def _columns(names: list[str], data: str) -> list[tuple[str, str]]:
    """Data sets as CatBoost's `evals_result_` calls them.

    Of several, all but the last have their number behind the metric's name.
    """
    others = {match[2] for name in names if (match := _OTHER_SET.match(name))}
    last = f"{data}_{len(others)}" if others else data
    found: list[tuple[str, str]] = []
    for name in names:
        match = _OTHER_SET.match(name)
        found.append((f"{data}_{match[2]}", match[1]) if match else (last, name))
    return found
