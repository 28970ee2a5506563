"""OVERFITTING_ROUNDS: validation turns while training goes on (statistics/divergence.py)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradtracer.analyzers.metric_curves import Curve
from gradtracer.analyzers.tree_figures import TreeFigures
from gradtracer.diagnoses.booster_parameters import edit_parameter
from gradtracer.diagnoses.finding import Finding, many, suppress
from gradtracer.settings import Settings
from gradtracer.statistics.divergence import TURNED, Divergence
from gradtracer.statistics.held_out_splits import Simpler
from gradtracer.statistics.monotone_effects import Monotone
from gradtracer_schemas import Evidence, FixOffer

_PATIENCE = 10
_SQUARED = frozenset({"l2", "mse"})


def examine(figures: TreeFigures, settings: Settings) -> Finding | None:
    """Raise when the validation metric has risen from its best, by more than wandering explains.

    The training metric must have gone on falling, where there is one. Silent where the library
    stops early by this metric: it predicts with the best round then.
    """
    turn, validation = figures.divergence, figures.validation
    if turn is None or validation is None or _stops_in_time(figures):
        return None
    rise, gained, unit = _error(turn, validation)
    if turn.p_value > TURNED or rise < settings.overfit_share * gained:
        return None
    meanwhile = _meanwhile(figures, turn.best)
    if meanwhile is None:
        return None
    best, wasted = turn.best + 1, turn.n - 1 - turn.best
    patience = max(_PATIENCE, turn.high - turn.best)
    values = validation.values
    fewer, constrained = _fewer_splits(figures), _constrained(figures, best)
    early = [edit_parameter(figures.facts, "early_stopping_rounds", patience, preferred=True)]
    if figures.facts.stops_by_training:
        # It would stop by a metric that goes on falling: never.
        early = []
    return Finding(
        type="OVERFITTING_ROUNDS",
        severity="warning",
        confidence=1.0 - turn.p_value,
        premise=(
            f"{validation.data} {validation.metric} is best in round {best} "
            f"({values[turn.best]:.4g}) and {values[-1]:.4g} after {turn.n:,}{meanwhile}."
        ),
        implies=f"{many(wasted, 'round')} fit noise, and the model that is kept holds them all.",
        action=(
            f"{_stop_early(figures, validation, patience)} Or train {best} rounds; or learn more "
            "slowly, with a smaller learning_rate or shallower trees."
            f"{fewer.words}{constrained.words}"
        ),
        expected_effect=(
            f"{validation.metric} of {values[turn.best]:.4g} instead of {values[-1]:.4g} on these "
            "data; a model that is smaller by the rounds left out."
        ),
        risk=("The best round was chosen on these very data: expect a little less on new ones."),
        evidence=[
            Evidence(
                statistic="validation_rise",
                value=rise,
                threshold=settings.overfit_share * gained,
                comparison="above",
                n=turn.n,
                unit=unit,
                p_value=turn.p_value,
                test="rise from the minimum against a driftless walk (Lévy), Newey-West variance",
            ),
            Evidence(
                statistic="best_round",
                value=best,
                threshold=turn.n,
                comparison="below",
                n=turn.n,
                unit="rounds",
                interval=(turn.low + 1, turn.high + 1),
                test="rounds that cannot be told from the best",
            ),
            *fewer.evidence,
            *constrained.evidence,
        ],
        fixes=[
            *early,
            edit_parameter(figures.facts, "num_boost_round", best, preferred=not early),
            *fewer.fixes,
            *constrained.fixes,
            suppress(),
        ],
    )


def _stops_in_time(figures: TreeFigures) -> bool:
    return figures.facts.stops_early and not figures.facts.stops_by_training


def _stop_early(figures: TreeFigures, validation: Curve, patience: int) -> str:
    outlasts = f"early_stopping_rounds={patience}, which outlasts the noise of this metric."
    if not figures.facts.stops_by_training:
        return f"Stop early: {outlasts}"
    return (
        f"Put {validation.data} last among the data sets that are evaluated: XGBoost stops early "
        f"by the last one, which is the one that is trained on. Then stop early: {outlasts}"
    )


def _error(turn: Divergence, validation: Curve) -> tuple[float, float, str]:
    """Rise, gain before it, and their unit; of a squared error those of its root.

    LightGBM tells the square where the other libraries tell the root: of the square's gain the same
    rise is a smaller share, and the less the error left, the smaller.
    """
    if validation.metric.lower() not in _SQUARED:
        return turn.rise, turn.gained, validation.metric
    first, best, last = np.sqrt(validation.values[[0, turn.best, -1]]).tolist()
    return last - best, first - best, f"root of {validation.metric}"


class _Remedy(NamedTuple):
    """What is said of splits that do not hold up on the validation set, and done about them."""

    words: str = ""
    evidence: tuple[Evidence, ...] = ()
    fixes: tuple[FixOffer, ...] = ()


def _fewer_splits(figures: TreeFigures) -> _Remedy:
    """Nothing where the splits hold up, or nobody can tell (statistics/held_out_splits.py)."""
    found, validation = figures.simpler, figures.validation
    if found is None or validation is None:
        return _Remedy()
    if found.depth is None or found.p_value > TURNED:
        return _Remedy()
    return _Remedy(
        f" With the splits below depth {found.depth} taken back, the trees as they are lose "
        f"{found.gain:.1%} less on {validation.data}.",
        (_less_loss("deep_splits_loss", found, ", Bonferroni over depths"),),
        (edit_parameter(figures.facts, "max_depth", found.depth),),
    )


def _constrained(figures: TreeFigures, best: int) -> _Remedy:
    """Nothing where no effect is known to go one way (statistics/monotone_effects.py)."""
    found, validation = figures.monotone, figures.validation
    if found is None or validation is None or found.p_value > TURNED:
        return _Remedy()
    signs = {figures.names[feature]: sign for feature, sign in sorted(found.signs.items())}
    rising, falling = (
        ", ".join(name for name, sign in signs.items() if sign == way) for way in (1, -1)
    )
    named = " and ".join(
        f"{way} with {names}" for way, names in (("rises", rising), ("falls", falling)) if names
    )
    parameters: dict[str, object] = {
        "signs": signs,
        "columns": figures.names,
        "rounds": best,
        "library": figures.facts.library,
    }
    if "num_boost_round" in figures.facts.parameters:
        parameters["measured"] = figures.facts.parameters["num_boost_round"]
    return _Remedy(
        f" The prediction {named}: without the splits of the first {best} rounds that go "
        f"the other way the trees lose {found.gain:.1%} less on {validation.data}, so constrain "
        "these effects, together with the rounds.",
        (_less_loss("turning_splits_loss", found, "; halves choose for each other"),),
        (FixOffer(fix="constrain-monotone", parameters=parameters),),
    )


def _less_loss(statistic: str, found: Simpler | Monotone, how: str) -> Evidence:
    return Evidence(
        statistic=statistic,
        value=found.gain,
        threshold=0.0,
        comparison="above",
        n=found.n,
        interval=(found.gain - 1.96 * found.error, found.gain + 1.96 * found.error),
        p_value=found.p_value,
        test=f"paired over validation examples, one-sided{how}",
    )


def _meanwhile(figures: TreeFigures, best: int) -> str | None:
    """What training did since the best round, in words; None where it improved no more."""
    training, validation = figures.training, figures.validation
    if training is None or validation is None or training.metric != validation.metric:
        return ""
    falling = training.falling
    if falling.size <= best or falling[-1] >= falling[best]:
        return None
    return (
        f", while {training.data} went on from {training.values[best]:.4g} to "
        f"{training.values[-1]:.4g}"
    )
