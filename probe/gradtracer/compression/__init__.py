"""From a trained model to a smaller one whose quality was measured.

`recipe_file.py` and `row_set.py` read and write the recipe; the types are in `gradtracer_schemas`.
`recipe_generator.py` finds one: `sensitivity.py` predicts, `candidates.py` lists what can be done,
`smooth_ranking.py` is a loss to predict by, `shortlist.py` measures, `solver.py` decides,
`quality.py` says how sure it is. `structure.py` changes shapes, `row_format.py` and
`packed_table.py` store, `finishing.py` and `distilling.py` train on.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradtracer.compression.finishing import Finished, finish
    from gradtracer.compression.smooth_ranking import smooth_ndcg

__all__ = ["Finished", "finish", "smooth_ndcg"]


def __getattr__(name: str) -> Any:
    # reading a recipe must not load torch
    if name in __all__:
        module = "smooth_ranking" if name == "smooth_ndcg" else "finishing"
        return getattr(importlib.import_module(f"gradtracer.compression.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
