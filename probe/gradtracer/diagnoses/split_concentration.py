"""SPLIT_CONCENTRATION: one feature outweighs all others (statistics/split_gain.py)."""

from __future__ import annotations

import math

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.booster_parameters import edit_parameter, own_name
from gradtracer.diagnoses.finding import Finding, probability_above, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence

_LEVEL = 0.01
_MIN_ROUNDS = 10
_COLUMNS = 0.5


def examine(figures: TreeFigures, settings: Settings) -> Finding | None:
    """Raise when one feature holds more of the gain than all others together, and not by chance.

    Chance is the law of the longest piece of a stick broken at random into as many pieces as there
    are features: of two features one always holds more than half.
    """
    shares = figures.shares
    if shares is None or shares.n < _MIN_ROUNDS or shares.p_value > _LEVEL:
        return None
    share, error = float(shares.share[shares.top]), shares.top_error
    confidence = probability_above(share, error, settings.concentration_share)
    if confidence < 0.95:
        return None
    used = figures.facts.parameters.get("colsample_bytree", 1.0)
    share_of_columns = own_name(figures.facts, "colsample_bytree")
    return Finding(
        type="SPLIT_CONCENTRATION",
        severity="information",
        confidence=min(confidence, 1.0 - shares.p_value),
        premise=(
            f"{figures.top_name} holds {share:.0%} of the gain of all splits; "
            f"{math.exp(shares.entropy):.1f} of {shares.share.size:,} are in effective use."
        ),
        implies=(
            "The model stands or falls with one column: when it drifts or goes missing, little "
            "else has been learned."
        ),
        action=(
            f"Make sure that {figures.top_name} is known at prediction time. Then have trees grow "
            f"without it: {share_of_columns}={_COLUMNS:g}, so that half of them learn from the "
            "rest."
            if used > _COLUMNS
            else f"Make sure that {figures.top_name} is known at prediction time. With "
            f"{share_of_columns}={used:g} trees grow without it already, and the other columns "
            "gain little: look for columns that tell more."
        ),
        expected_effect="More features in effective use, at much the same validation metric.",
        risk="The validation metric may fall a little where the other columns hold nothing.",
        evidence=[
            Evidence(
                statistic="top_share",
                value=share,
                threshold=settings.concentration_share,
                comparison="above",
                n=shares.n,
                interval=(max(0.0, share - 1.96 * error), min(1.0, share + 1.96 * error)),
                p_value=shares.p_value,
                test="Fisher's test of the largest share; jackknife over rounds",
            )
        ],
        fixes=(
            [edit_parameter(figures.facts, "colsample_bytree", _COLUMNS, preferred=True)]
            if used > _COLUMNS
            else []
        )
        + [suppress()],
    )
