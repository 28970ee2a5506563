"""TARGET_LEAKAGE: one feature is the target in disguise (split_gain.py, single_feature.py)."""

from __future__ import annotations

from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.finding import Finding, probability_above, suppress
from gradtracer.settings import Settings
from gradtracer_schemas import Evidence, FixOffer

_MIN_ROUNDS = 3


def examine(figures: TreeFigures, settings: Settings) -> Finding | None:
    """Raise when one feature takes nearly all gain and by itself all but gives the target away.

    The second is measured on examples that were held out of the measurement, where examples are at
    hand; otherwise by the validation metric, which must have lost all but a tenth.
    """
    shares = figures.shares
    if shares is None or shares.n < _MIN_ROUNDS or shares.share.size < 2:
        return None
    share, error = float(shares.share[shares.top]), shares.top_error
    confidence = probability_above(share, error, settings.leakage_share)
    if confidence < 0.95:
        return None
    proof = _proof(figures, settings)
    if proof is None:
        return None
    sure, words, evidence = proof
    name = figures.top_name
    which = (
        f"See which column is number {shares.top}, counted from 0, of the array that is trained "
        "on. "
        if figures.unnamed
        else ""
    )
    return Finding(
        type="TARGET_LEAKAGE",
        severity="error",
        confidence=min(confidence, sure),
        premise=f"{name} holds {share:.1%} of the gain of all splits, and {words}.",
        implies=(
            f"{name} is the target in disguise, or was written down after it: the scores are too "
            "good to be true, and will not hold where the target is not yet known."
        ),
        action=(
            f"{which}Find out when {name} is known. If only with the target, or after it, leave "
            "the column out and train again."
        ),
        expected_effect="Scores that are lower, and true.",
        risk=f"If {name} is known in time, the problem is simply easy: silence the diagnosis.",
        evidence=[
            Evidence(
                statistic="top_share",
                value=share,
                threshold=settings.leakage_share,
                comparison="above",
                n=shares.n,
                interval=(max(0.0, share - 1.96 * error), min(1.0, share + 1.96 * error)),
                test="normal, delete-a-group jackknife over rounds",
            ),
            evidence,
        ],
        fixes=[*_left_out(figures), suppress()],
    )


def _left_out(figures: TreeFigures) -> list[FixOffer]:
    """The offer to leave the column out; none where no table has a column of that name.

    CatBoost makes statistics of several columns, and columns of an array have the names that the
    library gives them; CatBoost alone is told what to ignore by those, too.
    """
    name, library = figures.top_name, figures.facts.library
    if " & " in name if library == "catboost" else figures.unnamed:
        return []
    return [FixOffer(fix="leave-out-column", parameters={"column": name, "library": library})]


def _proof(figures: TreeFigures, settings: Settings) -> tuple[float, str, Evidence] | None:
    """How sure, in words, and as evidence, that the target is all but known."""
    limit = settings.leakage_share
    if (alone := figures.alone) is not None:
        sure = probability_above(alone.value, alone.error, limit)
        evidence = Evidence(
            statistic="explained_alone",
            value=alone.value,
            threshold=limit,
            comparison="above",
            n=alone.n,
            interval=(alone.value - 1.96 * alone.error, alone.value + 1.96 * alone.error),
            test="out-of-sample R^2 of a step function, normal over examples",
        )
        words = f"by itself explains {alone.value:.1%} of the target on examples held out"
        return (sure, words, evidence) if sure >= 0.95 else None
    curve, turn = figures.validation, figures.divergence
    if curve is None or turn is None:
        return None
    best = float(curve.values[turn.best])
    left = 1.0 - best if curve.higher_is_better else best / max(float(curve.values[0]), 1e-300)
    if left < 0:
        return None
    error = turn.noise / max(abs(float(curve.values[0])), 1e-300)
    sure = 1.0 - probability_above(left, error, 1 - limit)
    evidence = Evidence(
        statistic="validation_left",
        value=left,
        threshold=1 - limit,
        comparison="below",
        n=turn.n,
        interval=(left - 1.96 * error, left + 1.96 * error),
        test="best validation value over the first, Newey-West noise of a round",
    )
    words = f"{curve.data} {curve.metric} comes to {best:.4g}"
    return (sure, words, evidence) if sure >= 0.95 else None
