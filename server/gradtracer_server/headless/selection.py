"""`--select` and `--ignore`: findings by type, by the beginning of a type, or by id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gradtracer_schemas import DIAGNOSIS_TYPES, Diagnosis
from gradtracer_server.exceptions import UsageError
from gradtracer_server.headless.nearest import meant

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding


def chosen(
    findings: Iterable[Finding], select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[Finding]:
    """The findings that a selection means: any of `select`, or all without it, less `ignore`.

    Raises:
        UsageError: a word is neither a type, nor the beginning of one, nor the id of a finding.
    """
    given = list(findings)
    ids = [finding.diagnosis.id for finding in given]
    wanted, unwanted = _words(select, ids), _words(ignore, ids)
    return [
        finding
        for finding in given
        if (not wanted or _any(finding.diagnosis, wanted)) and not _any(finding.diagnosis, unwanted)
    ]


def _any(diagnosis: Diagnosis, words: Iterable[str]) -> bool:
    return any(
        diagnosis.id == word if ":" in word else diagnosis.type.startswith(word) for word in words
    )


def _words(given: Sequence[str], ids: Sequence[str]) -> list[str]:
    """The words, split at commas, types in their own spelling."""
    words = [word.strip() for each in given for word in each.split(",") if word.strip()]
    return [_word(word, ids) for word in words]


def _word(word: str, ids: Sequence[str]) -> str:
    if ":" in word:
        if word in ids:
            return word
        hint = meant(word, ids, "`gradtracer check --output-format json` lists the ids")
        raise UsageError(f"expected the id of a finding, got {word[:120]!r}; {hint}")
    type_ = word.upper().replace("-", "_")
    if any(each.startswith(type_) for each in DIAGNOSIS_TYPES):
        return type_
    hint = meant(type_, [*DIAGNOSIS_TYPES, *ids], "`gradtracer rule` lists the types")
    raise UsageError(
        f"expected a type, the beginning of one, or the id of a finding, got {word[:80]!r}; {hint}"
    )
