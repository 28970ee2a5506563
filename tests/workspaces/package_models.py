"""Models of packages nobody here wrote: all of RecBole, DeepCTR-Torch and transformers that build.

RecBole and DeepCTR-Torch want older companions than a training environment has. They live in an
environment of their own under `build/`, made on demand, that looks to this one for the rest:

    subprocess.run([environment(), "script.py"], check=True)   # a script that may say
    for model in buildable("recbole"): model.build()

Nothing is downloaded but the packages: RecBole brings MovieLens-100K along, DeepCTR-Torch gets made
up columns, transformers its default configurations cut to two blocks, on the meta device.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import venv
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "bench-sites"
"""The environment; git ignores it."""
REQUIRED = (
    "recbole==1.2.1",
    "deepctr-torch==0.3.0",
    "pandas==2.3.3",
    "pytz",
    "colorama",
    "colorlog",
    "tabulate",
    "plotly",
    "texttable",
)
"""What it holds beyond this environment, installed without dependencies of theirs."""
PACKAGES = ("recbole", "deepctr", "transformers")

_WITHOUT_LAYERS = frozenset(
    {"ADMMSLIM", "AsymKNN", "EASE", "ItemKNN", "NCEPLRec", "Pop", "Random", "SLIMElastic"}
)
_DEPTH = re.compile(r"(num_hidden|num|n|encoder|decoder|num_encoder|num_decoder)_layers?")


@dataclass(frozen=True)
class PackageModel:
    """A model that a package defines."""

    package: str
    name: str
    build: Callable[[], Any]
    """Builds it anew; raises what the package raises where it cannot be built."""


def environment() -> Path:
    """The interpreter of the environment with the packages, made when it is missing."""
    python = HOME / "bin" / "python"
    done = HOME / ".installed"
    if not done.is_file() or done.read_text(encoding="utf-8") != "\n".join(REQUIRED):
        venv.create(HOME, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", "--no-deps", *REQUIRED]
        subprocess.run(command, check=True)
        done.write_text("\n".join(REQUIRED), encoding="utf-8")
    # After its own packages come those of the environment that runs this.
    outer = [path for path in sys.path if path.endswith("site-packages")]
    ours = [str(ROOT / folder) for folder in ("probe", "server", "schemas")]
    site = next((HOME / "lib").glob("python*/site-packages"))
    (site / "outer.pth").write_text("\n".join([*ours, *outer]) + "\n", encoding="utf-8")
    return python


def buildable(package: str) -> Iterator[PackageModel]:
    """Every model of a package, in the order of its modules; some may still fail to build."""
    models = {"recbole": _recbole, "deepctr": _deepctr, "transformers": _transformers}
    warnings.simplefilter("ignore")
    return models[package]()


def _recbole() -> Iterator[PackageModel]:
    _restore_old_names()
    from recbole.model.abstract_recommender import AbstractRecommender

    for family in ("general", "sequential", "context_aware", "knowledge_aware"):
        folder = importlib.import_module(f"recbole.model.{family}_recommender")
        for found in sorted(pkgutil.iter_modules(folder.__path__), key=lambda each: each.name):
            module = importlib.import_module(f"{folder.__name__}.{found.name}")
            for name, cls in sorted(vars(module).items()):
                own = inspect.isclass(cls) and cls.__module__ == module.__name__
                if own and issubclass(cls, AbstractRecommender) and name not in _WITHOUT_LAYERS:
                    yield PackageModel("recbole", name, _recbole_builder(name, cls, family))


def _recbole_builder(name: str, cls: Any, family: str) -> Callable[[], Any]:
    def build() -> Any:
        from recbole.config import Config
        from recbole.data import create_dataset

        settings: dict[str, Any] = {"device": "cpu", "use_gpu": False, "state": "ERROR"}
        if family == "sequential":
            settings["train_neg_sample_args"] = None
        arguments, sys.argv = sys.argv, sys.argv[:1]
        here = Path.cwd()
        try:
            # It writes logs where it stands.
            os.chdir(tempfile.gettempdir())
            config = Config(model=name, dataset="ml-100k", config_dict=settings)
            return cls(config, create_dataset(config).build()[0])
        finally:
            sys.argv = arguments
            os.chdir(here)

    return build


def _restore_old_names() -> None:
    """What RecBole 1.2.1 still calls by names that numpy and scipy have dropped."""
    import numpy as np
    from scipy.sparse import dok_matrix

    old = {"float": float, "int": int, "bool": bool, "object": object, "complex": complex}
    old |= {"long": int, "unicode": str, "str": str, "float_": np.float64}
    old |= {"complex_": np.complex128, "unicode_": np.str_, "string_": np.bytes_}
    for name, value in old.items():
        if name not in vars(np):
            setattr(np, name, value)
    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda self, entries: self._dict.update(entries)  # pyright: ignore


def _deepctr() -> Iterator[PackageModel]:
    import requests

    # Once imported it asks a registry for a newer version of itself, in a thread.
    requests.get = _no_network
    models = importlib.import_module("deepctr_torch.models")
    for name, cls in sorted(vars(models).items()):
        own = inspect.isclass(cls) and cls.__module__.startswith("deepctr_torch.models.")
        if own and name not in ("BaseModel", "Linear"):
            yield PackageModel("deepctr", name, _deepctr_builder(cls))


def _deepctr_builder(cls: Any) -> Callable[[], Any]:
    def build() -> Any:
        from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat

        columns: list[Any] = [
            SparseFeat("user", 10, embedding_dim=4),
            SparseFeat("item", 20, embedding_dim=4),
        ]
        history = "history_feature_list" in inspect.signature(cls).parameters
        if history:
            shown = SparseFeat("hist_item", 20, embedding_dim=4, embedding_name="item")
            columns.append(VarLenSparseFeat(shown, 5, length_name="seq_length"))
        if cls.__name__ not in ("CCPM", "FiBiNET"):
            columns.append(DenseFeat("score", 1))
        given: dict[str, Any] = {}
        for parameter in inspect.signature(cls).parameters.values():
            if parameter.name.endswith("feature_columns") and parameter.default is parameter.empty:
                given[parameter.name] = columns
        if history:
            given["history_feature_list"] = ["item"]
        return cls(**given)

    return build


def _no_network(*_: object, **__: object) -> Any:
    raise OSError("no request is made while models are built")


def _transformers() -> Iterator[PackageModel]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    for config in sorted(MODEL_MAPPING.keys(), key=lambda each: each.__name__):
        name = config.__name__.removesuffix("Config")
        yield PackageModel("transformers", name, _transformers_builder(config))


def _transformers_builder(config_class: Any) -> Callable[[], Any]:
    def build() -> Any:
        import torch
        from transformers import AutoModel

        config = config_class()
        _cut(config)
        with torch.device("meta"):
            return AutoModel.from_config(config)

    return build


def _cut(config: Any, depth: int = 0) -> None:
    """Two blocks for each stack: the third would stand on the lines of the second."""
    for name, value in list(vars(config).items()):
        if _DEPTH.fullmatch(name) and type(value) is int and value > 2:
            setattr(config, name, 2)
        elif hasattr(value, "to_dict") and depth < 3:
            _cut(value, depth + 1)
