"""What a split of CatBoost tests: a number, a category, or a statistic of several columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradtracer.analyzers.flatbuffer import Table
from gradtracer.analyzers.tree_table import Floats, Integers

# Fields of the model's trees, as CatBoost's `model.fbs` numbers them.
_CATEGORIES, _FLOATS, _ONE_HOT, _STATISTICS = 4, 5, 6, 7
_TEXTS, _ESTIMATED, _EMBEDDINGS = 12, 13, 18
_FLOAT_SPLIT = np.dtype([("index", "<i4"), ("border", "<f4")])


class Splits(NamedTuple):
    """All S tests that a model's splits choose from, by the numbers they are chosen by."""

    feature: Integers
    """`[S]` index in `names`."""
    border: Floats
    """`[S]`; NaN for a test of equality."""
    names: list[str]
    """The model's columns, then the combinations that statistics are of."""


def splits_of(trees: Table, names: list[str]) -> Splits:
    """Find the feature of each split.

    A statistic of one categorical column is that column, and so is what is estimated from a text;
    a statistic of several columns together is a feature of its own, named after all of them.
    """
    return _Features(trees, names).splits()


class _Features:
    def __init__(self, trees: Table, names: list[str]) -> None:
        self._trees = trees
        self._floats, self._categories, self._texts, self._embeddings = (
            _places(trees, slot, first)
            for slot, first in ((_FLOATS, 1), (_CATEGORIES, 0), (_TEXTS, 0), (_EMBEDDINGS, 0))
        )
        flat = [*self._floats.values(), *self._categories.values(), *self._texts.values()]
        flat += self._embeddings.values()
        self._names = [
            *names,
            *(f"f{index}" for index in range(len(names), max(flat, default=-1) + 1)),
        ]

    def splits(self) -> Splits:
        # They are numbered over the borders of the floats, those of the estimated features, the
        # one-hot values, the borders of the statistics.
        trees = self._trees
        groups: list[tuple[int, Any]] = []
        groups += [(self._float(each), each.array(3, "<f4")) for each in trees.tables(_FLOATS)]
        groups += [(self._source(each), each.array(3, "<f4")) for each in trees.tables(_ESTIMATED)]
        groups += [(self._category(each), _equal(each)) for each in trees.tables(_ONE_HOT)]
        groups += [
            (self._columns(each), each.array(1, "<f4")) for each in trees.tables(_STATISTICS)
        ]
        sizes = [borders.size for _, borders in groups]
        return Splits(
            feature=np.repeat(np.array([feature for feature, _ in groups], dtype=np.int64), sizes),
            border=np.concatenate([np.zeros(0), *(borders for _, borders in groups)]),
            names=self._names,
        )

    def _float(self, feature: Table) -> int:
        return self._floats[_number(feature, 1)]

    def _category(self, feature: Table) -> int:
        return self._categories[_number(feature, 0)]

    def _source(self, estimated: Table) -> int:
        """The text or embedding that numbers are estimated from."""
        columns = self._embeddings if estimated.number(4, "<b", 0) else self._texts
        return columns[_number(estimated, 0)]

    def _columns(self, statistic: Table) -> int:
        base = (statistic.table(0) or statistic).table(0)
        combined = None if base is None else base.table(0)
        if combined is None:
            return self._index("statistic")
        columns = [self._categories[index] for index in combined.array(0, "<i4").tolist()]
        columns += [self._floats[i] for i in combined.array(1, _FLOAT_SPLIT)["index"].tolist()]
        columns += [self._categories[i] for i in combined.array(2, "<i4").tolist()[::2]]
        columns = sorted(set(columns))
        if len(columns) == 1:
            return columns[0]
        return self._index(" & ".join(self._names[column] for column in columns))

    def _index(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)


def _places(trees: Table, slot: int, first: int) -> dict[int, int]:
    """Place among all columns, by place among those of a kind."""
    return {_number(each, first): _number(each, first + 1) for each in trees.tables(slot)}


def _number(table: Table, slot: int) -> int:
    return int(table.number(slot, "<i", -1))


def _equal(one_hot: Table) -> Floats:
    return np.full(one_hot.array(1, "<i4").size, np.nan)
