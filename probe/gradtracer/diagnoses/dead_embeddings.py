"""DEAD_EMBEDDINGS: rows that no example reaches (statistics/unseen.py)."""

from __future__ import annotations

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.finding import MAX_SAMPLE, Finding, many, suppress
from gradtracer.diagnoses.weight_decay import written
from gradtracer.settings import Settings
from gradtracer.statistics.folding import Folding, smallest_folding
from gradtracer_schemas import Evidence, FixOffer, Rows

_STILL_COMING = 0.1
"""Share by which as many look-ups again may widen the rows seen: above it coverage still grows, and
rows unseen are not yet seen. Under even exposure 1 % of a table then stays unseen, the least that
is raised."""


def examine(figures: TableFigures, settings: Settings) -> Finding | None:
    """Raise when more than `dead_share` of the table is dead, with 95 % confidence.

    While coverage still grows a run is young, and nothing is said.
    """
    unseen = figures.unseen
    limit = settings.dead_share * figures.rows
    confidence = unseen.confidence_above(limit)
    if unseen.look_ups == 0 or confidence < 0.95:
        return None
    if unseen.to_come > _STILL_COMING * (figures.rows - unseen.unseen):
        return None
    share = unseen.dead / figures.rows
    look_ups = figures.table.look_ups
    folding = smallest_folding(look_ups.between, figures.table.size, settings.dead_share)
    never = look_ups.none_of(MAX_SAMPLE)
    return Finding(
        type="DEAD_EMBEDDINGS",
        severity="warning",
        confidence=confidence,
        premise=(
            f"{many(unseen.unseen, 'row')} of {figures.rows:,} were never looked up in "
            f"{unseen.look_ups:,} look-ups. As many look-ups again would reach about "
            f"{unseen.to_come:,.0f} of them; {unseen.dead:,.0f} ({share:.1%} of the table) would "
            "stay untouched."
        ),
        implies=_fate(figures),
        action=_remedy(folding)
        + (
            "map the ids that occur to a dense range; serve a default vector for ids never trained."
        ),
        expected_effect=_effect(folding, figures, share),
        risk=(
            "Ids that appear only later share a trained row instead of an untrained one."
            if folding is not None
            else "Ids that appear only later need a default row."
        ),
        evidence=[
            Evidence(
                statistic="dead_rows",
                value=unseen.dead,
                threshold=limit,
                comparison="above",
                n=unseen.look_ups,
                unit="rows",
                interval=unseen.interval,
                test="smoothed Good-Toulmin estimate of the rows to come, normal",
            )
        ],
        rows=Rows(count=unseen.unseen, of=figures.rows, sample=never.tolist()),
        fixes=_fixes(folding, figures),
    )


def _remedy(folding: Folding | None) -> str:
    if folding is None:
        return "Size the table by the ids that occur: "
    return (
        f"Set num_embeddings to {folding.rows:,} and look ids up by their remainder; where many "
        "rows stay unused, "
    )


def _effect(folding: Folding | None, figures: TableFigures, share: float) -> str:
    if folding is None:
        return f"About {share:.1%} fewer rows to store, with no change for trained ids."
    cut = 1.0 - folding.rows / figures.spectrum.size
    same = (
        "every id seen keeps a row of its own"
        if folding.shared == 0
        else f"{folding.shared:.2%} of the look-ups seen would share a more frequent id's row"
    )
    return f"{cut:.1%} fewer rows to store; {same}."


def _fixes(folding: Folding | None, figures: TableFigures) -> list[FixOffer]:
    if folding is None:
        return [suppress()]
    told = {"num_embeddings": folding.rows, "measured_rows": figures.spectrum.size}
    offer = FixOffer(fix="shrink-table", parameters=told, preferred=folding.shared == 0)
    return [offer, suppress()]


def _fate(figures: TableFigures) -> str:
    """What the values of rows that no example reaches are."""
    if not figures.trainable:
        return "The table is frozen: these rows are stored and, for these data, never used."
    optimizer = figures.optimizer
    if optimizer is not None and optimizer.weight_decay > 0:
        return (
            f"No example moves them; weight_decay={written(optimizer.weight_decay)} alone may, "
            "towards zero. They cost memory, and what they are served as was never learned."
        )
    return (
        "They keep the values they began with, cost memory, and are served as something that was "
        "never learned here."
    )
