"""A run as the JSON of our own requests, which `features/runs.py` answers.

Names are in camelCase, as everywhere in the language server's protocol. Imports no pygls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradtracer_schemas import RULES
from gradtracer_server.render.card import confidence, layer_kind, outcome_sentence, run_status
from gradtracer_server.render.recipe import recipe_json

if TYPE_CHECKING:
    from gradtracer_schemas import Diagnosis
    from gradtracer_server.history import History
    from gradtracer_server.runs import LayerState, Run

_LOUDNESS = ("error", "warning", "information")


def run_summary(run: Run, *, following: bool) -> dict[str, Any]:
    """One line of a list of runs."""
    started, progress = run.started, run.progress
    return {
        "folder": run.folder.as_uri(),
        "id": run.id,
        "script": started.script if started else "",
        "arguments": list(started.argv) if started else [],
        "status": run.status,
        "outcome": run_status(run) if run.status == "live" else outcome_sentence(run),
        "startedAt": run.started_at,
        "endedAt": run.ended_at,
        "step": run.last_step,
        "totalSteps": progress.total_steps if progress else None,
        "stepsPerSecond": progress.steps_per_second if progress else None,
        "loss": progress.loss if progress else None,
        "following": following,
        "revision": run.revision,
    }


def run_detail(run: Run, *, following: bool, values: bool) -> dict[str, Any]:
    """A run with its layers and the diagnoses that hold.

    `values`: with the latest figures of every layer, which for a thousand of them are many.
    """
    health = {name: "healthy" if s.observation else "unknown" for name, s in run.layers.items()}
    for loudness in reversed(_LOUDNESS):
        for each in run.diagnoses.values():
            if each.severity == loudness and each.layer in health:
                health[each.layer] = loudness
    return {
        **run_summary(run, following=following),
        "layers": [_layer(state, health, values) for state in run.layers.values()],
        "diagnoses": [_diagnosis(each) for each in run.diagnoses.values()],
        "faults": [{"layer": fault.layer, "message": fault.message} for fault in run.faults],
        "recipe": recipe_json(run.recipe),
        "versions": dict(run.started.versions) if run.started else {},
    }


def layer_series(run: Run, layer: str) -> dict[str, Any] | None:
    """All figures of a layer over the run, and what the run told of its loss and metrics.

    None for a layer that the run does not watch. A series has one value for each of its steps, null
    where the step had none.
    """
    state = run.layers.get(layer)
    if state is None:
        return None
    observation = state.observation
    return {
        "layer": layer,
        "kind": layer_kind(state.watched),
        "step": state.observed_step,
        "values": dict(observation.values) if observation else {},
        "curves": {n: list(c) for n, c in observation.curves.items()} if observation else {},
        "shape": list(state.watched.shape),
        "series": _series(state.history),
        "learning": _series(run.learning),
    }


def statistic_series(run: Run, statistic: str) -> dict[str, Any]:
    """One statistic of every layer that has it, over the run: `[steps, values]` by layer."""
    told: dict[str, list[list[float]]] = {}
    for name, state in run.layers.items():
        points = state.history.series(statistic)
        if points:
            told[name] = [[step for step, _ in points], [value for _, value in points]]
    return {"statistic": statistic, "layers": told}


def _series(history: History) -> dict[str, Any]:
    steps = history.steps
    known = {name: dict(history.series(name)) for name in history.names}
    return {
        "steps": steps,
        "values": {n: [points.get(step) for step in steps] for n, points in known.items()},
    }


def _layer(state: LayerState, health: dict[str, str], values: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": state.watched.layer,
        "kind": layer_kind(state.watched),
        "trainable": state.watched.trainable,
        "health": health[state.watched.layer],
    }
    if values:
        told["values"] = dict(state.observation.values) if state.observation else {}
    return told


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    rule = RULES.get(diagnosis.type)
    return {
        "id": diagnosis.id,
        "type": diagnosis.type,
        "title": rule.title if rule else diagnosis.type,
        "layer": diagnosis.layer,
        "severity": diagnosis.severity,
        "confidence": confidence(diagnosis),
        "premise": diagnosis.premise,
        "action": diagnosis.action,
    }
