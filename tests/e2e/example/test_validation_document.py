"""RESULTS.md is written from the table, and the page of figures quotes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from validate_autofix import FIGURES, PUBLISHED
from validation.agenda import Seeds
from validation.document import BEGIN, END, document, missing, quote
from validation.tables import Records, rows


def record(ranks: list[int], **notes: Any) -> dict[str, Any]:
    return {"ranks": ranks, "notes": notes}


def records(seeds: int = 4) -> Records:
    rng = np.random.default_rng(5)
    idle = {"acted": 0, "states": {"no row named yet": 0.75, "the loss is improving": 0.25}}
    found: Records = {}
    for model, setting in (("mf-bce", "tuned"), ("mf-bce", "8 epochs"), ("sasrec", "adam 1e-2")):
        off = {s: record(rng.integers(3, 8, 50).tolist()) for s in range(seeds)}
        found[model, setting, "off"] = off
        found[model, setting, "average, gated"] = {
            s: record([rank - 1 for rank in each["ranks"]]) for s, each in off.items()
        }
        found[model, setting, "auto_fix"] = {
            s: record(each["ranks"], **idle) for s, each in off.items()
        }
    return found


def written(of: Records, averaging: int = 4) -> str:
    return document(rows(of), of, Seeds(4, averaging))


def test_it_says_what_auto_fix_did_and_in_which_states_it_was() -> None:
    text = written(records())
    assert (
        "`auto_fix=True`: of 3 settings of all models (4 seeds) significantly below off 0" in text
    )
    assert "It scaled updates in 0 of 12 trainings." in text
    assert "no row named yet 75.0 %, the loss is improving 25.0 %." in text
    acted = records()
    for each in acted["mf-bce", "tuned", "auto_fix"].values():
        each["notes"] = {"acted": 2, "states": {"acts": 1.0}}
    assert "in 4 of 12 trainings" in written(acted)
    assert "acts 33.3 %" in written(acted)


def test_it_says_which_diagnoses_had_their_edits_made() -> None:
    found = records()
    off = found["sasrec", "adam 1e-2", "off"]
    decay, longer = "MISSING_REGULARIZATION of training: x=1", "UNDERTRAINED of training: epochs=40"
    found["sasrec", "adam 1e-2", "proposed"] = {
        s: record([0 for _ in each["ranks"]], edits=[[decay], [longer, longer]] if s else [[decay]])
        for s, each in off.items()
    }
    text = written(found)
    assert "after Holm (MISSING_REGULARIZATION in 4, UNDERTRAINED in 3): goal of +10 %" in text


def test_diagnoses_whose_edits_were_made_equally_often_stand_in_order_of_name() -> None:
    found = records()
    names = [
        "DEAD_EMBEDDINGS",
        "MISSING_REGULARIZATION",
        "NON_FINITE",
        "STAGNATION",
        "UNDERTRAINED",
    ]
    made = [[f"{name} of training: x=1" for name in reversed(names)]]
    found["sasrec", "adam 1e-2", "proposed"] = {
        s: record(each["ranks"], edits=made)
        for s, each in found["sasrec", "adam 1e-2", "off"].items()
    }
    assert ", ".join(f"{name} in 4" for name in names) in written(found)


def test_what_is_not_trained_yet_is_said_cell_by_cell() -> None:
    lines = missing(records(), Seeds(4, 6))
    assert "mf-bce, 8 epochs: average 0 of 4" in lines
    assert (
        "mf-bce, tuned: off 4 of 6; average 0 of 6; average, gated 4 of 6; original 0 of 4" in lines
    )
    assert lines[0] in written(records(), averaging=6)
    whole = {
        (model, setting, arm): {s: record([1]) for s in range(4)}
        for model in ("mf-bce", "mf-bpr", "two-tower", "sasrec")
        for setting in (
            *("tuned", "adam 1e-3", "adam 1e-2", "noise 5 %", "noise 10 %", "noise 20 %"),
            *("8 epochs", "adagrad", "lr x 4"),
        )
        for arm in ("off", "average", "average, gated", "auto_fix", "proposed", "proposed, gated")
    }
    assert {line.split(": ")[1] for line in missing(whole, Seeds(4, 4))} == {"original 0 of 4"}
    assert "two-tower: nothing of tuned, adam 1e-3, adam 1e-2, noise 5 %" in "\n".join(lines)


def test_a_page_takes_over_answers_and_rows_and_keeps_the_rest() -> None:
    results = written(records())
    before = f"above\n{BEGIN}\nold figures\n{END}\nbelow\n"
    after = quote(before, results)
    assert after.startswith(f"above\n{BEGIN}\n\n| model | setting | off |")
    assert after.endswith(f"{END}\nbelow\n")
    assert "old figures" not in after
    assert "| sasrec | adam 1e-2 |" in after
    assert "8 epochs |" not in after
    quoted = after.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    assert set(quoted) <= set(results.splitlines())
    assert quote(after, results) == after
    with pytest.raises(ValueError, match="expected <!-- quoted"):
        quote("no marks", results)


def test_the_page_of_figures_says_what_the_results_say() -> None:
    page = FIGURES.read_text(encoding="utf-8")
    assert quote(page, PUBLISHED.read_text(encoding="utf-8")) == page
