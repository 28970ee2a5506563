"""Apply to a plan what diagnoses propose for the training."""

from __future__ import annotations

from dataclasses import replace

from gradtracer_schemas import Diagnosis, FixOffer
from validation.plans import Plan


def proposed(plan: Plan, diagnoses: list[Diagnosis]) -> tuple[Plan, list[str]]:
    """The plan with the preferred training edit of each diagnosis, and what was edited, in words.

    One value is set once: where two diagnoses would set it, the more confident one does.
    """
    told: list[str] = []
    changed = plan
    taken: set[str] = set()
    for diagnosis in sorted(diagnoses, key=lambda each: -each.confidence):
        for offer in diagnosis.fixes:
            edits = {} if not offer.preferred else _edits(plan, offer)
            if not edits or taken & set(edits):
                continue
            taken |= set(edits)
            changed = replace(changed, **edits)
            said = ", ".join(f"{name}={value}" for name, value in edits.items())
            told.append(f"{diagnosis.type} of {diagnosis.layer}: {said}")
    return changed, told


def _edits(plan: Plan, offer: FixOffer) -> dict[str, object]:
    """Fields of the plan that the fix changes; none for one that does not edit the training."""
    given = offer.parameters
    match offer.fix:
        case "reduce-weight-decay":
            wanted: dict[str, object] = {"weight_decay": given["weight_decay"]}
        case "set-weight-decay":
            wanted = {"optimizer": given["optimizer"], "weight_decay": given["weight_decay"]}
        case "train-longer":
            wanted = {"epochs": round(plan.epochs * given["factor"])}
        case "reduce-learning-rate" if "parameters" not in given:
            wanted = {"lr": given["lr"]}
        case _:
            return {}
    return {name: value for name, value in wanted.items() if getattr(plan, name) != value}
