"""Everything measured about an ensemble, and the part of it that travels as an observation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gradtracer.analyzers.booster_facts import BoosterFacts
from gradtracer.analyzers.metric_curves import Curve
from gradtracer.analyzers.tree_sample import examples_of, margins_of
from gradtracer.analyzers.tree_table import Floats, TreeTable
from gradtracer.statistics.divergence import TURNED, Divergence, divergence
from gradtracer.statistics.held_out_splits import HeldOutMargins, Simpler
from gradtracer.statistics.leaf_velocity import Share, Trend, growth, late_share, leaf_velocity
from gradtracer.statistics.monotone_effects import Monotone, monotone_effects
from gradtracer.statistics.single_feature import Explained, explained_alone
from gradtracer.statistics.split_gain import (
    GainShares,
    GainTotals,
    gain_shares,
    gain_totals,
    merged,
)
from gradtracer_schemas import Observation

_NUMBERED = ("Column_{}", "{}")
"""What LightGBM, and CatBoost and frames, call the columns that have no names."""
_POINTS = 64
_EARLY = 32_768
"""Nodes after which no more trees are kept to be followed again."""


class TreeTotals:
    """Sums over the trees read so far, so that each tree is looked at once."""

    def __init__(self, facts: BoosterFacts) -> None:
        self.facts = facts
        self.held_out: HeldOutMargins | None = None
        """Where there are examples to follow down the trees."""
        self.trees = self.leaves = self.deepest = 0
        self.early: list[TreeTable] = []
        """The first trees, where held-out examples can be followed down them."""
        self._monotone: dict[int, Monotone | None] = {}
        self.velocity: Floats = np.zeros(0)
        """`[T]` root mean square movement of the margin by each round."""
        self.gains: list[GainTotals] = []
        """Of stretches of rounds, at most 64."""

    def add(self, table: TreeTable, features: int) -> None:
        """Take in the trees of new rounds."""
        if not table.trees:
            return
        begin, end = int(table.round.min()), table.rounds
        new = leaf_velocity(table._replace(round=table.round - begin), end - begin)
        self.velocity = np.concatenate([self.velocity, new])
        if not self.trees:
            self.held_out = margins_of(self.facts, features)
        if self.held_out is not None:
            self.held_out.add(table)
            if self.held_out.followed and sum(each.tree.size for each in self.early) < _EARLY:
                self.early.append(table)
        self.trees += table.trees
        self.leaves += int(table.leaves.sum())
        self.deepest = max(self.deepest, int(table.depth.max()))
        self.gains.append(gain_totals(table, features))
        if len(self.gains) > _POINTS:
            pairs = zip(self.gains[::2], [*self.gains[1::2], None], strict=False)
            self.gains = [one if other is None else merged(one, other) for one, other in pairs]

    def monotone(self, curve: Curve, best: int) -> Monotone | None:
        """What the trees up to the best round of a validation curve say of features' signs."""
        held_out, end = self.held_out, self.early[-1].rounds if self.early else 0
        first = self.early[0].round[0] if self.early else 0
        if held_out is None or not held_out.followed or end - first <= best:
            return None
        if best not in self._monotone:
            sample = examples_of(self.facts, held_out.features, most=None)
            self._monotone = {
                best: None
                if sample is None
                else monotone_effects(
                    self.early,
                    int(first) + best + 1,
                    *sample,
                    strict=self.facts.library == "xgboost",
                    metric=curve.metric,
                    told=float(curve.values[best]),
                )
            }
        return self._monotone[best]

    @property
    def gain(self) -> GainTotals | None:
        """Of all rounds."""
        if not self.gains:
            return None
        total = self.gains[0]
        for stretch in self.gains[1:]:
            total = merged(total, stretch)
        return total


class TreeFigures(NamedTuple):
    """Measured on one ensemble; rounds are counted from 0."""

    layer: str
    facts: BoosterFacts
    names: list[str]
    trees: int
    leaves: int
    deepest: int
    velocity: Floats
    """`[T]`, see `statistics/leaf_velocity.py`."""
    late: Share | None
    growth: Trend | None
    gain: GainTotals | None
    shares: GainShares | None
    spread: list[float]
    """Features in effective use in successive stretches of rounds."""
    training: Curve | None
    validation: Curve | None
    divergence: Divergence | None
    simpler: Simpler | None
    """What held-out examples say of the deep splits, where they are at hand."""
    monotone: Monotone | None
    """What they say of features that move the prediction one way, where the metric turns."""
    alone: Explained | None
    """What the feature with the largest share explains by itself, where examples are at hand."""

    @property
    def rounds(self) -> int:
        """T."""
        return int(self.velocity.size)

    @property
    def top_name(self) -> str:
        """Name of the feature with the largest share of the gain."""
        return "" if self.shares is None else self.names[self.shares.top]

    @property
    def unnamed(self) -> bool:
        """Whether the columns are numbered, as those of an array are: no table has these names.

        A frame whose columns are numbers has them as numbers, and the libraries as words.
        """
        width = range(len(self.names))
        made = ([form.format(index) for index in width] for form in _NUMBERED)
        return not self.facts.named or self.names in made


def measure(
    layer: str,
    facts: BoosterFacts,
    names: list[str],
    totals: TreeTotals,
    training: Curve | None = None,
    validation: Curve | None = None,
    alone_share: float = 1.0,
) -> TreeFigures:
    """Figures of the trees read so far.

    Above `alone_share` of the gain on one feature it is looked at by itself, in the sample.
    """
    gain = totals.gain
    shares = gain_shares(gain) if gain is not None else None
    alone = None
    if shares is not None and facts.sample is not None and shares.share[shares.top] > alone_share:
        sample = facts.sample
        alone = explained_alone(sample.column(shares.top), sample.target, classes=sample.classes)
    known = validation is not None and validation.higher_is_better is not None
    stretches = [gain_shares(stretch) for stretch in totals.gains]
    turn = divergence(validation.falling) if known and validation is not None else None
    monotone = None
    if validation is not None and turn is not None and turn.p_value < TURNED:
        monotone = totals.monotone(validation, turn.best)
    return TreeFigures(
        layer=layer,
        facts=facts,
        names=names,
        trees=totals.trees,
        leaves=totals.leaves,
        deepest=totals.deepest,
        velocity=totals.velocity,
        late=late_share(totals.velocity),
        growth=growth(totals.velocity),
        gain=gain,
        shares=shares,
        spread=[math.exp(each.entropy) for each in stretches if each is not None],
        training=training,
        validation=validation,
        divergence=turn,
        simpler=_simpler(totals, validation),
        monotone=monotone,
        alone=alone,
    )


def _simpler(totals: TreeTotals, validation: Curve | None) -> Simpler | None:
    if totals.held_out is None or validation is None:
        return None
    told = validation.values[: totals.velocity.size]  # the trees may lag behind the metric
    return totals.held_out.simpler(validation.metric, float(told[-1])) if told.size else None


def observation(figures: TreeFigures) -> Observation:
    """The figures as they travel."""
    values: dict[str, float] = {
        "rounds": figures.rounds,
        "trees": figures.trees,
        "leaves": figures.leaves,
        "max_depth": figures.deepest,
        "features": len(figures.names),
    }
    curves: dict[str, list[float]] = {}
    peak = float(figures.velocity.max(initial=0.0))
    if peak > 0:
        values["leaf_velocity"] = float(figures.velocity[-1])
        values["leaf_velocity_share"] = float(figures.velocity[-1]) / peak
        curves["leaf_velocity"] = _thinned(figures.velocity / peak)
    if figures.late is not None:
        values["late_share"] = figures.late.value
    if figures.growth is not None:
        values["velocity_growth"] = figures.growth.rate
    if figures.shares is not None and figures.gain is not None:
        top, error = float(figures.shares.share[figures.shares.top]), figures.shares.top_error
        values |= {
            "split_gini": figures.shares.gini,
            "effective_features": math.exp(figures.shares.entropy),
            "top_share": top,
            "top_share_low": max(0.0, top - 1.96 * error),
            "top_share_high": min(1.0, top + 1.96 * error),
            "unused_features": float((figures.gain.first < 0).sum()),
        }
        curves["effective_features"] = figures.spread[-_POINTS:]
    for curve, name in ((figures.training, "training"), (figures.validation, "validation")):
        if curve is not None and curve.values.size:
            values[name] = float(curve.values[-1])
            curves[name] = _thinned(curve.values)
    if figures.divergence is not None:
        values["best_round"] = figures.divergence.best + 1
        values["best_round_low"] = figures.divergence.low + 1
        values["best_round_high"] = figures.divergence.high + 1
    return Observation(
        layer=figures.layer,
        values={name: float(value) for name, value in values.items() if math.isfinite(value)},
        curves={name: curve for name, curve in curves.items() if np.isfinite(curve).all()},
    )


def _thinned(values: Floats) -> list[float]:
    """At most 64 points, evenly over the rounds, the last one among them."""
    at = np.unique(np.linspace(0, values.size - 1, min(_POINTS, values.size)).round().astype(int))
    return [float(value) for value in values[at]]
