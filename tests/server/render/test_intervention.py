"""The hover says what auto-fix does, what was expected, and what was measured."""

from __future__ import annotations

from typing import Any

import pytest
from run_factory import RunFactory

from gradtracer_schemas import Intervention, InterventionEvent, MeasuredEffect
from gradtracer_server.render.card import layer_card
from gradtracer_server.render.intervention import intervention_notes
from gradtracer_server.render.markdown import hover_markdown
from gradtracer_server.runs import Run


def effect(statistic: str = "noise_energy", value: float = -0.13) -> MeasuredEffect:
    return MeasuredEffect(
        statistic=statistic,
        difference=value,
        interval=(value - 0.1, value + 0.1),
        level=0.95,
        n_treated=80,
        n_held_out=20,
    )


def made(action: str = "shrink-updates", **changes: Any) -> Intervention:
    given = {
        "layer": "item_emb",
        "action": action,
        "rows": 80,
        "held_out": 20,
        "holdout": 0.2,
        "seed": 0,
        "mean_scale": 0.314,
        "reason": "ZOMBIE_EMBEDDINGS names 100 rows",
        "expected": "noise energy lower",
    }
    return Intervention(**(given | changes))


def test_measured_effect_stands_beside_what_was_expected() -> None:
    both = [effect(), effect("update_efficiency", 0.02)]
    assert intervention_notes(made(effects=both)) == [
        "Auto-fix scales the updates of 80 rows by 0.31 on average; 20 are held out as control. "
        "ZOMBIE_EMBEDDINGS names 100 rows.",
        "Expected: noise energy lower.",
        "Measured effect: noise energy -12 % [-21, -3]; update efficiency +0.02 [-0.08, +0.12] "
        "(95 % interval at every look; 80 rows, 20 held out).",
    ]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("wait", "Auto-fix leaves all updates alone: ZOMBIE"),
        ("stop", "Auto-fix has stopped: ZOMBIE"),
        ("dance", "Auto-fix: dance. ZOMBIE"),
    ],
)
def test_other_actions_are_told(action: str, words: str) -> None:
    assert intervention_notes(made(action, expected=""))[0].startswith(words)


def test_waiting_is_told_with_what_it_waits_for() -> None:
    (_, when, _) = intervention_notes(made("wait"))
    assert "once the loss has stopped improving" in when
    assert when not in intervention_notes(made())


def test_before_the_first_look_it_says_so() -> None:
    assert intervention_notes(made())[-1] == "Measured effect: none yet."
    assert len(intervention_notes(made(held_out=0))) == 2


def test_hover_shows_the_latest_of_the_layer(project: RunFactory) -> None:
    writer = project.start()
    writer.watch_layers()
    writer.emit(made(reason="first"), cls=InterventionEvent)
    writer.emit(made(reason="second\x1b[31m <b>"), cls=InterventionEvent)
    writer.emit(made(layer="user_emb", reason="other"), cls=InterventionEvent)
    run = Run(writer.folder)
    run.catch_up()
    card = layer_card(run.layers["item_emb"], run)
    text = hover_markdown([card])
    assert "second" in text
    assert "\x1b" not in text
    assert "second [31m \\<b>" in text
    assert "first" not in text
    assert "other" not in text


@pytest.mark.parametrize(("on", "told"), [(True, True), (False, False)])
def test_where_it_is_on_and_never_acted_the_hover_says_why(
    project: RunFactory, on: bool, told: bool
) -> None:
    writer = project.start()
    writer.watch_layers()
    run = Run(writer.folder)
    run.catch_up()
    state = run.layers["item_emb"]
    state.watched.settings["auto_fix"] = on
    text = hover_markdown([layer_card(state, run)])
    assert ("found nothing to act on" in text) == told
