"""Parameters of boosters under one name each, and the offers to edit them."""

from __future__ import annotations

from collections.abc import Mapping

from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer_schemas import FixOffer

ALIASES: dict[str, str] = {
    alias: name
    for name, aliases in {
        "learning_rate": "eta shrinkage_rate",
        "num_boost_round": (
            "n_estimators num_iterations num_iteration iterations num_trees num_tree num_round "
            "num_rounds nrounds n_iter max_iter"
        ),
        "early_stopping_rounds": "early_stopping_round early_stopping od_wait n_iter_no_change",
        "reg_lambda": "lambda lambda_l2 l2_regularization l2_leaf_reg",
        "min_split_gain": "gamma min_split_loss min_gain_to_split",
        "min_child_weight": "min_sum_hessian_in_leaf min_sum_hessian_per_leaf min_sum_hessian",
        "min_child_samples": "min_data_in_leaf min_data min_samples_leaf min_data_per_leaf",
        "max_depth": "depth",
        "colsample_bytree": "feature_fraction sub_feature rsm colsample_bylevel",
    }.items()
    for alias in (name, *aliases.split())
}
"""Every name that a library takes for a parameter, to the name it has here."""


def canonical(given: Mapping[str, object]) -> dict[str, float]:
    """The numbers among parameters, under the names used here; unknown ones are left out."""
    found: dict[str, float] = {}
    for name, value in given.items():
        known = ALIASES.get(name)
        number = _number(value)
        if known is not None and number is not None:
            found[known] = number
    return found


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
