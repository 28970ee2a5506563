"""A layer or a run in at most thirty characters, for the end of its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gradtracer_server.render.card import layer_values
from gradtracer_server.render.escape import clean
from gradtracer_server.render.figures import is_known, tells_of_the_model
from gradtracer_server.render.numbers import count, number, percent

if TYPE_CHECKING:
    from gradtracer_schemas import Progress
    from gradtracer_server.runs import LayerState, Run

MOST = 30
"""Editors cut what is longer."""
OUTDATED = "measured before this edit"

_NAME = 12
_UNITS = (("dead_units", "dead units"), ("saturated_units", "saturated"))
_WORDS = (("update_ratio", "update"), ("gradient_snr", "SNR"), ("gini", "Gini"))
"""Statistics of layers and tables, and the words there is room for."""
_UNMEASURED = "not measured yet"


def layers_hint(states: Sequence[LayerState], run: Run) -> str:
    """`rank 21.5/64, 91 % seen`, or of several layers `26 layers, rank 3.1 to 21.5`."""
    if len(states) == 1:
        return _of_one(states[0], run)
    ranks = [s.observation.values.get("effective_rank") for s in states if s.observation]
    known = [rank for rank in ranks if rank is not None]
    range_ = f"rank {number(min(known))} to {number(max(known))}" if known else ""
    return fitting([f"{count(len(states))} layers", range_])


def run_hint(run: Run) -> str:
    """`step 1,234/5,000, loss 0.231` while it trains; how it ended after."""
    if run.status != "live":
        return fitting([run.status, *_measured(run.progress)])
    return fitting([_reached(run, run.unit), *_measured(run.progress)]) or "starting"


def fitting(parts: Iterable[str]) -> str:
    """As many of the parts as fit, the first one cut where it must be."""
    text = ""
    for part in parts:
        joined = f"{text}, {part}" if text and part else text + part
        if len(joined) <= MOST:
            text = joined
        elif not text:
            text = clean(part, MOST)
    return text


def _of_one(state: LayerState, run: Run) -> str:
    if not state.watched.shape:
        # What has no weight is a training call: its rounds and metrics are the run's.
        if run.status == "live":
            return fitting([_reached(run, "round"), *_measured(run.progress)])
        return fitting([f"{count(run.last_step)} rounds", *_measured(run.progress)])
    return fitting(_figures(layer_values(state))) or _UNMEASURED


def _figures(values: Mapping[str, float]) -> list[str]:
    """The figures that say most, each in a word."""
    parts: list[str] = []
    rank, dim = values.get("effective_rank"), values.get("dim")
    if rank is not None:
        parts.append(f"rank {number(rank)}" + (f"/{count(dim)}" if dim and rank <= dim else ""))
    seen, rows = values.get("seen_rows"), values.get("rows")
    share = seen / rows if seen is not None and rows else values.get("coverage")
    if share is not None:
        parts.append(f"{percent(share)} seen")
    for name, units in _UNITS:
        if values.get(name):
            parts.append(f"{count(values[name])} {units}")
    for name, word in _WORDS:
        if name in values:
            parts.append(f"{word} {number(values[name], digits=2)}")
    if not parts:
        own = (name for name in values if tells_of_the_model(name) and not is_known(name))
        parts += [f"{clean(name, 18)} {number(values[name])}" for name in own]
    return parts[:2]


def _reached(run: Run, unit: str) -> str:
    total = run.progress.total_steps if run.progress else None
    return f"{unit} {count(run.last_step)}" + (f"/{count(total)}" if total else "")


def _measured(progress: Progress | None) -> list[str]:
    """A metric of a validation set where there is one, else the loss, else any metric."""
    if progress is None:
        return []
    metrics = progress.metrics
    held_out = [name for name in metrics if name.lower().startswith(("val", "eval", "test"))]
    if held_out:
        # The one that the user named first; of `val-logloss` the first word is enough here, and
        # `validation`, as libraries call it themselves, would leave no room for its value.
        name = held_out[0]
        short = clean(name.replace("_", "-").partition("-")[0], _NAME)
        short = "val" if short.lower() == "validation" else short
        return [f"{short} {number(metrics[name])}"]
    if progress.loss is not None:
        return [f"loss {number(progress.loss)}"]
    return [f"{clean(name, _NAME)} {number(value)}" for name, value in list(metrics.items())[-1:]]
