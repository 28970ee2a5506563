"""What is known already: a baseline file, or what an earlier run had. The rest is new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gradtracer_server.exceptions import UsageError
from gradtracer_server.fingerprint import fingerprint
from gradtracer_server.headless.nearest import meant
from gradtracer_server.runbook import earlier_runs
from gradtracer_server.runs import Run

if TYPE_CHECKING:
    from gradtracer_server.findings import Finding

PREVIOUS = "previous"
"""Stands for the run before the one that speaks, of each script."""

_KEY = "gradtracer_baseline"
_VERSION = 1
_NAMED = 3
"""Runs named where a beginning is that of several."""
_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Known:
    """Fingerprints of the findings that are not new."""

    entries: dict[str, dict[str, str]] = field(default_factory=dict[str, "dict[str, str]"])
    """By fingerprint: `type`, `layer` and `id` when it was noted."""

    def state(self, finding: Finding) -> str:
        """`new` or `unchanged`, in the words of SARIF."""
        known = fingerprint(finding.diagnosis, finding.run) in self.entries
        return "unchanged" if known else "new"


def load_baseline(path: Path) -> Known:
    """Read a baseline file.

    Raises:
        UsageError: there is none, or it is something else.
    """
    try:
        with path.open("rb") as file:
            content: Any = json.loads(file.read(_LARGEST))
    except OSError as error:
        raise UsageError(
            f"expected a baseline file, got {str(path)!r}: {error.strerror or error}; "
            "add --write-baseline to write it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"expected a baseline file, got {str(path)!r}: {error}") from None
    entries = cast("dict[str, Any]", content).get("findings") if _ours(content) else None
    if not isinstance(entries, list):
        raise UsageError(
            f'expected {{"{_KEY}": {_VERSION}, "findings": [...]}} in {str(path)!r}; '
            "write it anew with --write-baseline"
        )
    return Known(
        {
            str(entry["fingerprint"]): {key: str(entry.get(key, "")) for key in _FIELDS}
            for entry in cast("list[Any]", entries)
            if isinstance(entry, dict) and "fingerprint" in entry
        }
    )


_FIELDS = ("type", "layer", "id")


def write_baseline(path: Path, findings: Iterable[Finding]) -> int:
    """Write the findings as known; how many.

    Raises:
        UsageError: the file cannot be written.
    """
    entries = {
        fingerprint(each.diagnosis, each.run): {
            "type": each.diagnosis.type,
            "layer": each.diagnosis.layer,
            "id": each.diagnosis.id,
        }
        for each in findings
    }
    listed = [{"fingerprint": name, **entry} for name, entry in sorted(entries.items())]
    text = json.dumps({_KEY: _VERSION, "findings": listed}, indent=2)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"expected a file that can be written, got {str(path)!r}: {error.strerror or error}"
        ) from None
    return len(entries)


def known_to_run(name: str, runs: Sequence[Run], shown: Sequence[Run]) -> Known:
    """What an earlier run had. `name`: its id, a beginning that no other has, or `previous`.

    Raises:
        UsageError: there is no such run.
    """
    earlier = _previous(runs, shown) if name == PREVIOUS else [find_run(name, runs)]
    for run in earlier:
        run.catch_up()
    return Known(
        {
            fingerprint(each, run): {"type": each.type, "layer": each.layer, "id": each.id}
            for run in earlier
            for each in run.diagnoses.values()
        }
    )


def find_run(name: str, runs: Sequence[Run]) -> Run:
    """The run of an id, or of a beginning that no other has.

    Raises:
        UsageError: there is no such run, or there are several.
    """
    found = [run for run in runs if run.id == name]
    found = found or [run for run in runs if name and run.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    ids = [run.id for run in runs]
    if found:
        named = ", ".join(run.id for run in found[:_NAMED])
        more = ", ..." if len(found) > _NAMED else ""
        many = f"which {len(found)} runs begin with: {named}{more}"
        raise UsageError(f"expected one run, got {name[:80]!r}, {many}")
    newest = f"the newest is {ids[0]}" if ids else "there are no runs here"
    raise UsageError(f"expected the id of a run, got {name[:80]!r}; {meant(name, ids, newest)}")


def _previous(runs: Sequence[Run], shown: Sequence[Run]) -> list[Run]:
    """For each run that speaks, the one before it."""
    return [run for speaking in shown for run in earlier_runs(speaking, runs)[:1]]


def _ours(content: Any) -> bool:
    return isinstance(content, dict) and cast("dict[str, Any]", content).get(_KEY) == _VERSION
