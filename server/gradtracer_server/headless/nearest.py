"""What somebody may have meant by a name that is none of the known ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 3


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names, the nearest first: those that hold it, else those like it.

    Case does not count.
    """
    names = {each.lower(): each for each in known}
    wanted = name.strip().lower()
    holding = [each for each in names if wanted and wanted in each]
    near = holding or difflib.get_close_matches(wanted, names, n=_SHOWN, cutoff=0.5)
    return [names[each] for each in near[:_SHOWN]]


def meant(name: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean A or B?`, or the sentence that helps where nothing is near."""
    near = nearest(name, known)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
