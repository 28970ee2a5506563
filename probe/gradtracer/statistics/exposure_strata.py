"""Classes of rows of like exposure, within which rows are compared with each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MIN_STRATUM = 200


def half_octaves(look_ups: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """`[R]` floor of twice the binary logarithm; a row without look-ups counts as with one."""
    return np.floor(2 * np.log2(np.maximum(look_ups, 1))).astype(np.int64)


def exposure_strata(look_ups: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """`[R]` half-octave classes of `look_ups`, neighbours merged until each holds 200 rows."""
    octave = half_octaves(look_ups)
    merged = np.zeros_like(octave)
    label, size = 0, 0
    for value in np.unique(octave):
        members = octave == value
        merged[members] = label
        size += int(members.sum())
        if size >= _MIN_STRATUM:
            label, size = label + 1, 0
    if 0 < size < _MIN_STRATUM and label > 0:
        merged[merged == label] = label - 1
    return merged
