"""How the runs and findings of a session stand, in a word and a line, for a status bar.

Imports no pygls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradtracer_server.render.card import run_outcome
from gradtracer_server.render.numbers import count

if TYPE_CHECKING:
    from gradtracer_server.session import Session


def standing(session: Session) -> dict[str, Any]:
    """`state`: `live`, `ended`, `outdated` or `none`; `text`; `run`; `live` and `findings` counted.

    `outdated`: nothing trains, and every finding is about text that was edited since.
    """
    runs = session.runs
    live = sum(run.status == "live" for run in session.all_runs)
    shown = sum(finding.state == "current" for finding in session.findings)
    found = f"{count(shown)} finding{'' if shown == 1 else 's'}"
    if not runs:
        state, text = "none", "No run"
    elif live:
        state, text = "live", f"{f'{count(live)} trainings' if live > 1 else 'Training'}, {found}"
    elif session.findings and all(each.state == "outdated" for each in session.findings):
        state, text = "outdated", "Edited since the last run"
    else:
        state, text = "ended", f"Last run {run_outcome(runs[0])}, {found}"
    return {
        "state": state,
        "text": text,
        "run": runs[0].id if runs else None,
        "live": live,
        "findings": shown,
    }
