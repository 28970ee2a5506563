"""What a split of CatBoost tests: a number, a category, or a statistic of several columns."""

from __future__ import annotations

from typing import Any

import numpy as np


class SplitNames:
    """Finds the feature of each split.

    A statistic of one categorical column is that column; one of several columns together is a
    feature of its own, named after all of them.
    """

    def __init__(self, features: dict[str, Any], names: list[str]) -> None:
        self.names = list(names)
        """The model's columns, then the combinations that splits use."""
        floats: list[Any] = features.get("float_features") or []
        categories: list[Any] = features.get("categorical_features") or []
        self._floats = {each["feature_index"]: each["flat_feature_index"] for each in floats}
        self._categories = {
            each["feature_index"]: each["flat_feature_index"] for each in categories
        }
        flat = [*self._floats.values(), *self._categories.values()]
        for index in range(len(self.names), max(flat, default=-1) + 1):
            self.names.append(f"f{index}")
        # Splits are numbered over all borders of the floats, then the one-hot values, then the
        # borders of the statistics.
        before = sum(len(each.get("borders") or ()) for each in floats)
        before += sum(len(each.get("values") or ()) for each in categories)
        self._statistics: list[Any] = features.get("ctrs") or []
        borders = [len(each.get("borders") or ()) for each in self._statistics]
        self._ends = before + np.cumsum(borders)

    def read(self, split: dict[str, Any]) -> tuple[int, float]:
        """Index in `names`, and the border; NaN for a test of equality."""
        kind = split.get("split_type")
        if kind == "FloatFeature":
            return self._floats[split["float_feature_index"]], float(split["border"])
        if kind == "OneHotFeature":
            return self._categories[split["cat_feature_index"]], float("nan")
        border = float(split.get("border", "nan"))
        if kind == "OnlineCtr":
            place = int(np.searchsorted(self._ends, split["split_index"], side="right"))
            if place < len(self._statistics):
                return self._columns(self._statistics[place]["elements"]), border
        return self._index(str(kind)), border

    def _columns(self, elements: list[dict[str, Any]]) -> int:
        columns: list[int] = []
        for element in elements:
            if "cat_feature_index" in element:
                columns.append(self._categories[element["cat_feature_index"]])
            elif "float_feature_index" in element:
                columns.append(self._floats[element["float_feature_index"]])
        columns = sorted(set(columns))
        if len(columns) == 1:
            return columns[0]
        return self._index(" & ".join(self.names[column] for column in columns))

    def _index(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)
