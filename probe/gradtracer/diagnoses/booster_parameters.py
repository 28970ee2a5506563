"""Parameters of boosters under one name each, and the offers to edit them."""

from __future__ import annotations

from collections.abc import Mapping

from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer_schemas import FixOffer
from gradtracer_schemas.booster_parameters import BOOSTER_PARAMETERS, CATBOOST_NAMES

_NAMES = {alias: name for name, aliases in BOOSTER_PARAMETERS.items() for alias in aliases}


def canonical(given: Mapping[str, object]) -> dict[str, float]:
    """The numbers among parameters, under the names used here; unknown ones are left out."""
    found: dict[str, float] = {}
    for name, value in given.items():
        known = _NAMES.get(name)
        number = _number(value)
        if known is not None and number is not None:
            found[known] = number
    return found


def own_name(facts: BoosterFacts, name: str) -> str:
    """What the library that trains calls a parameter, for people who write it."""
    return CATBOOST_NAMES.get(name, name) if facts.library == "catboost" else name


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        # XGBoost tells its parameters as they are in single precision.
        return float(f"{float(value):.7g}")  # pyright: ignore[reportArgumentType] or it raises
    except (TypeError, ValueError):
        return None


def edit_parameter(
    facts: BoosterFacts, name: str, value: float, *, preferred: bool = False
) -> FixOffer:
    """The offer to set one parameter, with what the run had."""
    parameters: dict[str, object] = {
        "parameter": name,
        "value": int(value) if float(value).is_integer() else float(f"{value:.3g}"),
        "library": facts.library,
    }
    if name in facts.parameters:
        parameters["measured"] = facts.parameters[name]
    return FixOffer(fix="edit-booster-parameter", parameters=parameters, preferred=preferred)
