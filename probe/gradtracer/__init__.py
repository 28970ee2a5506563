"""GradTracer: training dynamics, on the line of code that defines the layer.

    import gradtracer
    run = gradtracer.watch(model, optimizer=optimizer)

Importing it loads neither torch nor scipy; it begins to note where modules and optimizers are
built, now or when torch is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gradtracer.callsite import install as _install_call_sites
from gradtracer.training_sites import install as _install_training_sites

if TYPE_CHECKING:
    from gradtracer.agent import AgentExporter
    from gradtracer.analyzers.embedding import EmbeddingTracker
    from gradtracer.analyzers.features import FeatureAnalyzer
    from gradtracer.analyzers.flow import FlowTracker
    from gradtracer.analyzers.manager import FlowManager
    from gradtracer.analyzers.trees import TreeDynamicsTracker
    from gradtracer.audit import AutoFixAuditLogger
    from gradtracer.auto_fix.averaging import RowAverage
    from gradtracer.bridges import log_to_mlflow, log_to_tensorboard, log_to_wandb
    from gradtracer.callbacks import (
        catboost_callback,
        lightgbm_callback,
        lightning_callback,
        transformers_callback,
        xgboost_callback,
    )
    from gradtracer.callsite import locate_modules as locate
    from gradtracer.compression.application import compress
    from gradtracer.compression.compressed_file import load_compressed, save_compressed
    from gradtracer.compression.recipe_generator import RecipeGenerator
    from gradtracer.entrance import watch
    from gradtracer.exceptions import (
        GradTracerError,
        MissingLibrary,
        NotAModel,
        NotCompressed,
        NotCompressible,
        NothingToWatch,
        SettingsError,
        UsageError,
    )
    from gradtracer.run import Run
    from gradtracer.sampling_correction import log_q
    from gradtracer.version import __version__

__all__ = [
    "AgentExporter",
    "AutoFixAuditLogger",
    "EmbeddingTracker",
    "FeatureAnalyzer",
    "FlowManager",
    "FlowTracker",
    "GradTracerError",
    "MissingLibrary",
    "NotAModel",
    "NotCompressed",
    "NotCompressible",
    "NothingToWatch",
    "RecipeGenerator",
    "RowAverage",
    "Run",
    "SettingsError",
    "TreeDynamicsTracker",
    "UsageError",
    "__version__",
    "catboost_callback",
    "compress",
    "lightgbm_callback",
    "lightning_callback",
    "load_compressed",
    "locate",
    "log_q",
    "log_to_mlflow",
    "log_to_tensorboard",
    "log_to_wandb",
    "save_compressed",
    "transformers_callback",
    "watch",
    "xgboost_callback",
]

_HOMES = {
    "AgentExporter": ("gradtracer.agent", "AgentExporter"),
    "AutoFixAuditLogger": ("gradtracer.audit", "AutoFixAuditLogger"),
    "EmbeddingTracker": ("gradtracer.analyzers.embedding", "EmbeddingTracker"),
    "FeatureAnalyzer": ("gradtracer.analyzers.features", "FeatureAnalyzer"),
    "FlowManager": ("gradtracer.analyzers.manager", "FlowManager"),
    "FlowTracker": ("gradtracer.analyzers.flow", "FlowTracker"),
    "GradTracerError": ("gradtracer.exceptions", "GradTracerError"),
    "MissingLibrary": ("gradtracer.exceptions", "MissingLibrary"),
    "NotAModel": ("gradtracer.exceptions", "NotAModel"),
    "NotCompressed": ("gradtracer.exceptions", "NotCompressed"),
    "NotCompressible": ("gradtracer.exceptions", "NotCompressible"),
    "NothingToWatch": ("gradtracer.exceptions", "NothingToWatch"),
    "RowAverage": ("gradtracer.auto_fix.averaging", "RowAverage"),
    "RecipeGenerator": ("gradtracer.compression.recipe_generator", "RecipeGenerator"),
    "Run": ("gradtracer.run", "Run"),
    "SettingsError": ("gradtracer.exceptions", "SettingsError"),
    "TreeDynamicsTracker": ("gradtracer.analyzers.trees", "TreeDynamicsTracker"),
    "UsageError": ("gradtracer.exceptions", "UsageError"),
    "__version__": ("gradtracer.version", "__version__"),
    "compress": ("gradtracer.compression.application", "compress"),
    "load_compressed": ("gradtracer.compression.compressed_file", "load_compressed"),
    "save_compressed": ("gradtracer.compression.compressed_file", "save_compressed"),
    "catboost_callback": ("gradtracer.callbacks", "catboost_callback"),
    "lightgbm_callback": ("gradtracer.callbacks", "lightgbm_callback"),
    "xgboost_callback": ("gradtracer.callbacks", "xgboost_callback"),
    "lightning_callback": ("gradtracer.callbacks", "lightning_callback"),
    "log_to_mlflow": ("gradtracer.bridges", "log_to_mlflow"),
    "log_to_tensorboard": ("gradtracer.bridges", "log_to_tensorboard"),
    "log_to_wandb": ("gradtracer.bridges", "log_to_wandb"),
    "locate": ("gradtracer.callsite", "locate_modules"),
    "log_q": ("gradtracer.sampling_correction", "log_q"),
    "transformers_callback": ("gradtracer.callbacks", "transformers_callback"),
    "watch": ("gradtracer.entrance", "watch"),
}

_COMPRESSION = "see gradtracer.RecipeGenerator(run, evaluate=...) and gradtracer.compress"
_REPLACED = {
    "BoostingTracker": "pass e.g. callbacks=[gradtracer.xgboost_callback()] to the training",
    "SklearnTracker": "call gradtracer.watch(estimator) before its fit",
    "TreeTracker": "use gradtracer.TreeDynamicsTracker(model)",
    "HistoryTracker": "`gradtracer runs` lists earlier runs, `gradtracer runs compare` two of them",
    "CompressionTracker": _COMPRESSION,
    "QuantizationAdvisor": _COMPRESSION,
    "DistillationTracker": "see gradtracer.compression.finish(scores=...)",
    "SaliencyAnalyzer": "use EmbeddingTracker.saliency()",
    "PEFTTracker": "gradtracer.watch(model) observes adapters as any other layer",
    "plot_embedding_diagnostics": "see gradtracer.plots",
}
"""Names of the original 0.9.0 that are gone, and what stands in for them."""

_install_call_sites()
_install_training_sites()


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name in _REPLACED:
        # An AttributeError's words are lost where the name is imported.
        raise ImportError(f"gradtracer has no {name} since 1.0: {_REPLACED[name]}")
    if home is None:
        raise AttributeError(f"module 'gradtracer' has no attribute {name!r}")
    value = getattr(importlib.import_module(home[0]), home[1])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
