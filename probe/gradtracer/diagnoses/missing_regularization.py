"""MISSING_REGULARIZATION: a model that decay would help, trained without any that counts.

Three signs, the strongest first: a held-out metric that turns while training goes on
(statistics/divergence.py), tables whose training spends its way on taking back the random values
that they began with, and tables that still consist of them at the end (statistics/start_share.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradtracer.analyzers.optimizer_facts import OptimizerFacts
from gradtracer.analyzers.training_figures import TableStart, TrainingFigures
from gradtracer.diagnoses.finding import Finding, probability_above, suppress
from gradtracer.diagnoses.weight_decay import (
    acts_within,
    decay_over,
    in_perspective,
    left_of,
    set_decay,
    written,
)
from gradtracer.settings import Settings
from gradtracer.statistics.divergence import Divergence, divergence
from gradtracer.statistics.start_share import StartShare
from gradtracer_schemas import Evidence, FixOffer

_LEVEL = 0.01
_LEFT = 0.05
"""Least share of the squared norm that the first values must still hold to be in the way."""
_SPARSE = "The gradients are sparse, and no optimizer decays what has such"
_RANKED = "Rows that are rarely met rank by what was learned of them."
_TO_A_TWENTIETH = 3.0
"""exp(-3) = .05: what is then left of the first values by the end of the run."""


def examine(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise for the first sign that holds, where decay is too weak to act within the run."""
    return (
        _turned(figures, settings)
        or _carries_its_start(figures, settings)
        or _still_its_start(figures, settings)
    )


def _turned(figures: TrainingFigures, settings: Settings) -> Finding | None:
    validation, loss, optimizer = figures.validation, figures.loss, figures.optimizer
    if validation is None or optimizer is None or acts_within(optimizer, figures.step):
        return None
    turn = divergence(validation.falling)
    if turn is None or turn.p_value > _LEVEL or turn.rise < settings.overfit_share * turn.gained:
        return None
    if loss is None or len(loss.values) < 2:
        return None
    step = float(validation.steps[turn.best])
    after = loss.values[loss.steps >= step]
    if len(after) < 2 or after[-1] >= after[0]:
        return None
    decay = decay_over(optimizer, step, 1.0)
    sparse = optimizer.name == "SparseAdam" or any(each.sparse for each in figures.starts)
    values = validation.values
    return Finding(
        type="MISSING_REGULARIZATION",
        severity="warning",
        confidence=1.0 - turn.p_value,
        premise=(
            f"{validation.name} was best at step {step:,.0f} ({values[turn.best]:.4g}) and is "
            f"{values[-1]:.4g} at step {validation.steps[-1]:,.0f}, while the training loss went "
            f"on from {after[0]:.4g} to {after[-1]:.4g}. {_decays(optimizer)}"
        ),
        implies="What is learned since then holds for the training examples alone.",
        action=(
            f"Stop at the best step. {_SPARSE}."
            if sparse
            else f"{_action(optimizer, decay, step)} Or stop at the best step."
        ),
        expected_effect=(
            f"Weights that remember about the last {step:,.0f} steps, as they did when "
            f"{validation.name} was best: {values[turn.best]:.4g} or better at the end."
        ),
        risk=_RISK,
        evidence=[_turn_evidence(turn, settings, validation.name)],
        fixes=[*([] if sparse else set_decay(optimizer, decay)), suppress()],
    )


def _turn_evidence(turn: Divergence, settings: Settings, metric: str) -> Evidence:
    return Evidence(
        statistic="validation_rise",
        value=turn.rise,
        threshold=settings.overfit_share * turn.gained,
        comparison="above",
        n=turn.n,
        unit=metric,
        p_value=turn.p_value,
        test="rise from the minimum against a driftless walk (Lévy), Newey-West variance",
    )


def _carries_its_start(figures: TrainingFigures, settings: Settings) -> Finding | None:
    def confidence(share: StartShare) -> float:
        if share.left < _LEFT:
            return 0.0
        return probability_above(share.taken_back, share.error, settings.start_share)

    found = _sure(figures, confidence)
    if not found:
        return None
    tables = [each for each, _ in found]
    return _of_the_start(
        figures,
        found,
        premise=(
            f"{_of_tables(tables, lambda share: share.taken_back)} of the way that the rows in use "
            "have gone leads from their random first values straight back towards zero, and those "
            f"values still hold {_left(tables)} of their squared norm."
        ),
        implies=(
            "The training spends its examples on unlearning noise, row by row; rows that are "
            "rarely met keep it, and it ranks them at random."
        ),
        evidence=[_taken_back_evidence(each, settings) for each in tables],
    )


def _still_its_start(figures: TrainingFigures, settings: Settings) -> Finding | None:
    """Raise at the end of a run for tables that are more of their first values than of the data.

    Where a network or a norm lies between a table and the score, nothing pulls at the length of a
    row, and little of the way leads towards zero. That some of it does must be for sure: what no
    gradient takes back is in nobody's way. A table that has hardly moved is none that decay helps.
    """

    def confidence(share: StartShare) -> float:
        moved = share.left <= 1 - _LEFT
        wanted_away = probability_above(share.taken_back, share.error, 0.0) >= 1 - _LEVEL
        if not (moved and wanted_away):
            return 0.0
        return probability_above(share.left, share.left_error, settings.start_left)

    found = _sure(figures, confidence) if figures.ended else []
    if not found:
        return None
    tables = [each for each, _ in found]
    return _of_the_start(
        figures,
        found,
        premise=(
            "At the end of the run the random first values still hold "
            f"{_of_tables(tables, lambda share: share.left)} of the squared norm of the rows in "
            "use, though the training takes them back."
        ),
        implies=(
            "More of these tables is noise than what was learned, and what reads them has to tell "
            "the one from the other."
        ),
        evidence=[_left_evidence(each, settings) for each in tables],
        smaller_first=True,
    )


def _sure(
    figures: TrainingFigures, confidence: Callable[[StartShare], float]
) -> list[tuple[TableStart, float]]:
    """Tables without decay that counts, of which the sign holds; the surest first."""
    steps = figures.horizon
    if steps is None:
        return []
    sure = [(each, confidence(each.share)) for each in figures.starts]
    found = [
        (each, confidence)
        for each, confidence in sure
        if confidence >= 0.95 and not acts_within(each.optimizer, steps)
    ]
    return sorted(found, key=lambda item: -item[1])


def _of_the_start(
    figures: TrainingFigures,
    found: list[tuple[TableStart, float]],
    *,
    premise: str,
    implies: str,
    evidence: list[Evidence],
    smaller_first: bool = False,
) -> Finding:
    """`smaller_first`: what reads the tables rescales them, so that decay is the slower way."""
    first, confidence = found[0]
    steps = figures.horizon or figures.step
    decay = decay_over(first.optimizer, steps, _TO_A_TWENTIETH)
    start = max(each.share.start for each, _ in found)
    beside = figures.starts if figures.trains_more else ()
    tables = [
        each.layer
        for each in beside
        if each.named_by_path and not acts_within(each.optimizer, steps)
    ]
    sparse = any(each.sparse for each, _ in found)
    remedy, effect, fixes = (
        (f"{_SPARSE}: {_smaller(start)}", _RANKED, list[FixOffer]())
        if sparse
        else _against_the_start(first.optimizer, decay, steps, start, tables, smaller_first)
    )
    return Finding(
        type="MISSING_REGULARIZATION",
        severity="warning",
        confidence=confidence,
        premise=f"{premise} {_decays(first.optimizer)}",
        implies=implies,
        action=remedy,
        expected_effect=effect,
        risk=_RISK,
        evidence=evidence,
        fixes=[*fixes, suppress()],
    )


def _against_the_start(
    optimizer: OptimizerFacts,
    decay: float,
    steps: int,
    start: float,
    tables: Sequence[str],
    smaller_first: bool,
) -> tuple[str, str, list[FixOffer]]:
    """What to do, what it brings, and the edits of it; with small steps decay is none of them."""
    if not acts_within(optimizer._replace(coupled=False, weight_decay=decay), steps):
        return (
            f"At a learning rate of {written(optimizer.base_lr)}, {steps:,} steps are too few for "
            f"any decay to take the first values back: {_smaller(start)} Or raise the learning "
            "rate.",
            _RANKED,
            [],
        )
    left = left_of(optimizer, decay, steps)
    decayed = (
        f"{_action(optimizer, decay, steps)} It takes the first values back in every row alike."
        f"{' Or decay the tables alone, in a parameter group.' if tables else ''}"
    )
    smaller = _smaller(start)
    return (
        f"First try to {smaller} Or let decay do it. {decayed}"
        if smaller_first
        else f"{decayed} Or {smaller}",
        f"{100 * left:.2g} % of the first values are left after {steps:,} steps, in rows that are "
        "never met too: rare items rank by what was learned of them.",
        set_decay(optimizer, decay, tables),
    )


def _smaller(start: float) -> str:
    # A tenth leaves a hundredth of their squared norm.
    return f"begin with smaller ones: nn.init.normal_(table.weight, std={start / 10:.1g})."


def _taken_back_evidence(each: TableStart, settings: Settings) -> Evidence:
    return Evidence(
        statistic="start_taken_back",
        value=each.share.taken_back,
        threshold=settings.start_share,
        comparison="above",
        n=each.share.rows,
        unit=f"of the squared movement of {each.layer}",
        interval=each.share.interval,
        test="squared cosine with the first values, delete-a-group jackknife over rows",
    )


def _left_evidence(each: TableStart, settings: Settings) -> Evidence:
    return Evidence(
        statistic="start_left",
        value=each.share.left,
        threshold=settings.start_left,
        comparison="above",
        n=each.share.rows,
        unit=f"of the squared norm of {each.layer}",
        interval=each.share.left_interval,
        test="squared cosine of values and first values, delete-a-group jackknife over rows",
    )


def _of_tables(found: list[TableStart], of: Callable[[StartShare], float]) -> str:
    told = [f"{of(each.share):.0%} ({each.layer})" for each in found[:4]]
    return " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]


def _left(found: list[TableStart]) -> str:
    low, high = (f(each.share.left for each in found) for f in (min, max))
    return f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"


def _decays(optimizer: OptimizerFacts) -> str:
    if optimizer.weight_decay <= 0:
        return f"{optimizer.name} trains without weight decay."
    return f"weight_decay={written(optimizer.weight_decay)} acts more slowly than the run lasts."


def _action(optimizer: OptimizerFacts, decay: float, steps: float) -> str:
    if optimizer.name == "SGD":
        return f"Set weight_decay={written(decay)}."
    return (
        f"Train with torch.optim.AdamW and weight_decay={written(decay)}. "
        f"{in_perspective(optimizer, decay, steps)}"
    )


_RISK = (
    "Too strong a decay leaves the model too small to fit: the training loss tells. It acts on "
    "every weight that the optimizer holds; put biases and norms into a group without it."
)
