"""What auto-fix does to a layer, in sentences: what was expected of it, and what was measured."""

from __future__ import annotations

from gradtracer_schemas import Intervention, effect_in_words
from gradtracer_server.render.escape import clean
from gradtracer_server.render.numbers import count, number, percent

_WHEN = (
    "It acts on single rows that move much and get nowhere, and on those once the loss has stopped "
    "improving: what holds the whole training back is for the proposed edits."
)


def intervention_notes(made: Intervention | None) -> list[str]:
    """The latest intervention as paragraphs; None: auto-fix is on, and there was none."""
    if made is None:
        return [f"Auto-fix is on and has found nothing to act on. {_WHEN}"]
    notes = [_does(made)]
    if made.action == "wait":
        notes.append(_WHEN)
    if made.expected:
        notes.append(f"Expected: {clean(made.expected)}.")
    if made.effects:
        level = percent(made.effects[0].level)
        words = "; ".join(clean(effect_in_words(effect)) for effect in made.effects)
        arms = f"{count(made.effects[0].n_treated)} rows, {count(made.effects[0].n_held_out)}"
        notes.append(f"Measured effect: {words} ({level} interval at every look; {arms} held out).")
    elif made.action == "shrink-updates" and made.held_out:
        notes.append("Measured effect: none yet.")
    return notes


def _does(made: Intervention) -> str:
    reason = clean(made.reason).rstrip(".")
    if made.action == "shrink-updates":
        held = f"{count(made.held_out)} are held out as control"
        return (
            f"Auto-fix scales the updates of {count(made.rows)} rows by "
            f"{number(made.mean_scale, 2)} on average; {held}. {reason}."
        )
    if made.action == "wait":
        return f"Auto-fix leaves all updates alone: {reason}."
    if made.action == "stop":
        return f"Auto-fix has stopped: {reason}."
    return f"Auto-fix: {clean(made.action, 80)}. {reason}."
