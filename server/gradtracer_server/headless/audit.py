"""`gradtracer audit`: what auto-fix did to which rows, and what was measured of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gradtracer_schemas import effect_in_words
from gradtracer_server.audit import Story, audit_files, stories
from gradtracer_server.discovery import HOME
from gradtracer_server.headless.output import say
from gradtracer_server.headless.paths import folders_of
from gradtracer_server.render.escape import clean
from gradtracer_server.render.json import document
from gradtracer_server.render.numbers import count, number, percent

_DOES = {
    "shrink-updates": "shrinks updates",
    "wait": "waits: updates are left alone",
    "stop": "has stopped",
}


def audit(
    paths: Sequence[Path],
    *,
    run: str | None = None,
    layer: str | None = None,
    output_format: str = "text",
) -> int:
    """Print a summary for each run and table; the exit status.

    `run`: the beginning of an id. `layer`: its whole name.

    Raises:
        UsageError: a path does not exist.
    """
    folders = folders_of(paths)
    found = [
        story
        for story in stories(audit_files(folders))
        if story.run.startswith(run or "") and layer in (None, story.layer)
    ]
    if output_format == "json":
        say(document([_record(story) for story in found]))
    elif found:
        say("\n\n".join(_text(story) for story in found))
    else:
        say(
            f"No interventions found in {HOME}/audit.jsonl. Auto-fix writes it where a run has "
            "auto_fix=True and there was something to do."
        )
    return 0


def _record(story: Story) -> dict[str, Any]:
    return {**dataclasses.asdict(story), "effects": msgspec.to_builtins(story.effects)}


def _text(story: Story) -> str:
    lines = [
        f"{clean(story.layer, 120)}, run {clean(story.run, 80)}: "
        f"{_DOES.get(story.action, clean(story.action, 80))}",
        f"    {_changes(story)}",
    ]
    if story.treated_rows or story.held_out_rows:
        held = f"{count(story.held_out_rows)} held out as control"
        factor = f" by {number(story.mean_scale, 2)} on average" if story.treated_rows else ""
        lines.append(f"    {count(story.treated_rows)} rows treated{factor}, {held}")
    if story.effects:
        level = percent(story.effects[0].level)
        words = "; ".join(effect_in_words(effect) for effect in story.effects)
        lines.append(f"    measured effect ({level} at every look): {clean(words)}")
    elif story.held_out_rows:
        lines.append("    no effect measured yet")
    if story.reason:
        lines.append(f"    {clean(story.reason)}")
    return "\n".join(lines)


def _changes(story: Story) -> str:
    changes = f"{count(story.lines)} change{'' if story.lines == 1 else 's'}"
    steps = f"step {count(story.first_step)}"
    if story.last_step != story.first_step:
        steps = f"steps {count(story.first_step)} to {count(story.last_step)}"
    versions = ", ".join(clean(each, 40) for each in story.code_versions)
    by = f", gradtracer {versions}" if versions else ""
    return f"{changes} at {steps}, {count(story.rows_changed)} factors set, seed {story.seed}{by}"
