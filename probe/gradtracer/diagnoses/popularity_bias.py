"""POPULARITY_BIAS: exposure more uneven than 80/20 (statistics/gini.py), or one row above all."""

from __future__ import annotations

from scipy import stats

from gradtracer.analyzers.table_figures import TableFigures
from gradtracer.diagnoses.finding import Finding, probability_above, suppress
from gradtracer.settings import Settings
from gradtracer.statistics.flattening import flattening_power
from gradtracer_schemas import Evidence, FixOffer

_MIN_ROWS = 30
_MIN_LOOK_UPS_PER_ROW = 5
_ABOVE_ALL = 8.0
"""Times the look-ups of the next row: as under Zipf's law with an exponent of 3."""
_MOST_OF_ALL = 0.05


def examine(figures: TableFigures, settings: Settings) -> Finding | None:
    """Raise when the Gini coefficient of exposure is above its limit with 95 % confidence.

    With fewer than 5 look-ups a row, counting noise alone makes exposure look uneven. Before that,
    when one row alone is looked up so often that it can be no item.
    """
    return _one_row(figures) or _uneven(figures, settings)


def _one_row(figures: TableFigures) -> Finding | None:
    times, rows = figures.spectrum.look_ups, figures.spectrum.rows
    if figures.spectrum.seen < _MIN_ROWS or len(times) < 2 or rows[-1] != 1:
        return None
    top, following, total = int(times[-1]), int(times[-2]), figures.spectrum.total
    p = float(stats.binom.sf(top - 1, top + following, _ABOVE_ALL / (1 + _ABOVE_ALL)))
    if top < _MOST_OF_ALL * total or p >= 0.01:
        return None
    row = int(figures.counts.argmax())
    return Finding(
        type="POPULARITY_BIAS",
        severity="information",
        confidence=1.0 - p,
        premise=(
            f"Row {row:,} alone takes {top / total:.0%} of all look-ups, "
            f"{top / following:,.0f} times as many as the next one."
        ),
        implies=(
            "That is seldom a single item: rather padding, which is trained here like one, a "
            "default, or an id for all that is unknown."
        ),
        action=(
            f"If it is padding, say so: padding_idx={row} in the call that builds the table, and "
            f"leave it out of the loss, e.g. by ignore_index={row}. If it stands for unknown ids, "
            "give the frequent ones among them rows of their own."
        ),
        expected_effect="A padding of zeros that no example moves.",
        risk="Saved tables have something else in this row: set it to zero there.",
        evidence=[
            Evidence(
                statistic="look_ups_above_next",
                value=top / following,
                threshold=_ABOVE_ALL,
                comparison="above",
                n=top + following,
                unit="times the next row's look-ups",
                p_value=p,
                test="binomial, share of the two rows' look-ups",
            )
        ],
        fixes=[suppress()],
    )


def _uneven(figures: TableFigures, settings: Settings) -> Finding | None:
    gini = figures.gini
    if gini is None or gini.n < _MIN_ROWS:
        return None
    if figures.unseen.look_ups < _MIN_LOOK_UPS_PER_ROW * gini.n:
        return None
    confidence = probability_above(gini.value, gini.error, settings.popularity_gini)
    if confidence < 0.95:
        return None
    head = figures.spectrum.share_of_head(100)
    return Finding(
        type="POPULARITY_BIAS",
        severity="information",
        confidence=confidence,
        premise=(
            f"Look-ups are spread with a Gini coefficient of {gini.value:.3f} over "
            f"{gini.n:,} rows; the most frequent 1 % of rows take {head:.0%} of them."
        ),
        implies="The head is trained many times over while the tail stays near its initial values.",
        action=(
            "Correct the logits by log Q of the sampling, draw negatives by smoothed popularity, "
            "or weight examples by inverse frequency."
        ),
        expected_effect=(
            "Better ranking of rare items. Log Q in an in-batch softmax doubled the test NDCG@10 "
            "of a matrix factorisation on MovieLens-100K; the other two are not measured."
        ),
        risk="Accuracy on popular items, and so on most test sets, may fall a little.",
        evidence=[
            Evidence(
                statistic="gini",
                value=gini.value,
                threshold=settings.popularity_gini,
                comparison="above",
                n=gini.n,
                interval=(
                    max(0.0, gini.value - 1.96 * gini.error),
                    min(1.0, gini.value + 1.96 * gini.error),
                ),
                test="normal, jackknife standard error over rows",
            )
        ],
        fixes=[
            FixOffer(fix="log-q-correction", preferred=True),
            FixOffer(
                fix="inverse-frequency-weights",
                parameters={"power": flattening_power(figures.spectrum, settings.popularity_gini)},
            ),
            suppress(),
        ],
    )
