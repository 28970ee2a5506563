"""`gradtracer rule TYPE`: the page of a type of diagnosis."""

from __future__ import annotations

import textwrap

from gradtracer_schemas import DIAGNOSIS_TYPES, RULES
from gradtracer_server.exceptions import UsageError
from gradtracer_server.headless.nearest import meant
from gradtracer_server.headless.output import say

_WIDTH = 88


def rule(name: str | None) -> int:
    """Print one page, or the list of all types; the exit status.

    Raises:
        UsageError: there is no such type.
    """
    if name is None:
        width = max(map(len, RULES))
        for each in RULES.values():
            say(f"{each.type:<{width}}  {each.title}")
        return 0
    say(page(name))
    return 0


def page(name: str) -> str:
    """The page of a type, however its name is spelled.

    Raises:
        UsageError: there is no such type.
    """
    wanted = name.strip().upper().replace("-", "_")
    for type_ in DIAGNOSIS_TYPES:
        if type_ == wanted:
            if type_ in RULES:
                return _page(type_)
            return f"{type_}: reserved; this version does not raise it."
    hint = meant(wanted, DIAGNOSIS_TYPES, "`gradtracer rule` lists them")
    raise UsageError(f"expected a type of diagnosis, got {name[:80]!r}; {hint}")


def _page(type_: str) -> str:
    page = next(each for each in RULES.values() if each.type == type_)
    parts = [f"{page.type}: {page.title}"]
    for heading, text in (
        ("Looks for", page.looks_for),
        ("Matters", page.matters),
        ("Remedies", page.remedies),
        ("Silent when", page.silent_when),
        ("Source", page.source),
    ):
        lines = textwrap.wrap(text, _WIDTH, break_on_hyphens=False)
        body = textwrap.indent("\n".join(lines), "    ")
        parts.append(f"{heading}\n{body}")
    return "\n\n".join(parts)
