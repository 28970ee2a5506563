"""Makes text from a journal safe to show: it is data, never markup, links or control codes."""

from __future__ import annotations

import re
import unicodedata

_INLINE = re.compile(
    r"[\\`*~|]"  # emphasis, code, strikethrough, table cells
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis; inside a word it is plain
    r"|\](?=[(\[:])"  # the closing bracket of a link
    r"|<(?=[A-Za-z/!?])"  # a tag
    r"|&(?=#|[A-Za-z][A-Za-z0-9]*;)"  # an entity
    r"|@(?=\S)"  # an address that clients make a link of
    r"|(?<=:)/(?=/)|(?i:(?<=\bwww)\.|(?<=\bmailto):)"
)
_LINE_START = re.compile(
    r"^[-+=#>]"  # a list, a heading, a quotation
    + "".join(rf"|(?<=^\d{{{digits}}})[.)](?=\s|$)" for digits in range(1, 10))  # a numbered list
)
_SPACES = re.compile(r"\s+")
_LONGEST_BACKTICKS = re.compile(r"`+")


def clean(text: str, limit: int = 600) -> str:
    """One line of at most `limit` characters without control or direction codes."""
    kept = "".join(
        " " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character
        for character in text[: 4 * limit]
        if unicodedata.category(character) not in {"Cf", "Cs", "Co"}
    )
    line = _SPACES.sub(" ", kept).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def markdown(text: str, limit: int = 600) -> str:
    """The text as markdown that shows exactly these characters, wherever it stands.

    Only what would act is escaped: terminal editors show the backslashes.
    """
    # Nothing that is escaped inline stands before a marker of a line's start.
    return _LINE_START.sub(r"\\\g<0>", inline(text, limit))


def inline(text: str, limit: int = 600) -> str:
    """As `markdown`, for a table cell and for what has other words before it on its line."""
    return _INLINE.sub(r"\\\g<0>", clean(text, limit))


def code(text: str, limit: int = 120) -> str:
    """The text as a markdown code span that also fits in a table."""
    line = clean(text, limit).replace("|", "¦")
    if not line:
        return ""
    longest = max((len(run) for run in _LONGEST_BACKTICKS.findall(line)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"
