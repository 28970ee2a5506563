"""`watch(model)`: one call that puts every table and layer of a model under observation."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from itertools import groupby

from msgspec.structs import replace
from torch import nn
from torch.optim import Optimizer

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.flow import FlowTracker, observed_modules
from gradtracer.analyzers.layer_modules import layers_of
from gradtracer.analyzers.manager import FlowManager
from gradtracer.analyzers.towers import Parts, has_towers, towers_of
from gradtracer.analyzers.training import TrainingTracker
from gradtracer.callsite import call_site, locate_module, locate_modules
from gradtracer.exceptions import NothingToWatch
from gradtracer.joining import join_or_begin
from gradtracer.late_import import say_what_was_built_before
from gradtracer.project import main_script, project_root
from gradtracer.roots import unwrapped
from gradtracer.run import Run
from gradtracer.settings import Settings, load_settings
from gradtracer.stepping import count_steps
from gradtracer.unregistered import Holder, Unregistered, unregistered
from gradtracer_schemas import SourceSite

_log = logging.getLogger("gradtracer")


def watch(
    model: nn.Module,
    optimizer: Optimizer | None = None,
    *,
    total_steps: int | None = None,
    auto_fix: bool | None = None,
    track_interval: int | None = None,
    towers: Mapping[str, Parts] | bool | None = None,
    **settings: object,
) -> Run:
    """Observe `model` until the process ends or `run.finish()` is called.

    Call it once, after the model is built and before the training loop; the loop stays as it is.
    A second call on the same line begins a new run, on another line it joins the one that is open.

    Args:
        model: any module; every embedding table in it is observed, and every other layer with a
            trainable weight.
        optimizer: checked against the model and said when they do not belong together. Steps are
            seen without it, too.
        total_steps: optimizer steps planned; gives the progress bar its end.
        auto_fix: shrink the updates of rows named by ZOMBIE_EMBEDDINGS.
        track_interval: follow gradients at 1/track_interval of the steps, in bursts.
        towers: compare these towers, e.g. `{"user": ["user_mlp"], "item": ["item_mlp"]}`; by
            default those that names or classes of the model's parts tell of. False: none.
        settings: any other field of `gradtracer.settings.Settings`.

    Raises:
        NothingToWatch: `model` is no `nn.Module`, or has no such towers.
        SettingsError: a setting with an unknown name or a value that does not fit.
    """
    if not isinstance(model, nn.Module):
        raise NothingToWatch(
            f"expected a torch.nn.Module, got {type(model).__name__}; pass e.g. "
            "watch(model, optimizer=optimizer)"
        )
    site = call_site()
    merged = load_settings(
        project_root(main_script()),
        auto_fix=auto_fix,
        track_interval=track_interval,
        towers=towers if isinstance(towers, bool) else None,
        **settings,
    )
    named = towers if isinstance(towers, Mapping) else None
    if named is not None:
        towers_of(model, named)
    run = join_or_begin(merged, site, total_steps=total_steps)
    observe(model, run, settings=merged, site=site, optimizer=optimizer, towers=named)
    return run


def observe(
    model: nn.Module,
    run: Run,
    *,
    settings: Settings,
    site: SourceSite,
    optimizer: Optimizer | None = None,
    towers: Mapping[str, Parts] | None = None,
) -> None:
    """Put what can be observed in `model` under observation of `run`, what it has already apart.

    `site` is the line that asked for it.
    """
    parameters = [each for each in model.parameters() if each.requires_grad]
    model = unwrapped(model)
    run.observed = weakref.ref(model)
    tables = _tables(model)
    if run.observing:
        count_steps(run)
    layers = layers_of(model, observed_modules(run))
    plain = unregistered(model)
    if not tables and not layers and not plain and not layers_of(model):
        _log.warning(
            "%s holds no embedding table and no layer with a trainable weight: there is nothing to "
            "observe in it",
            type(model).__name__,
        )
    if optimizer is not None:
        _check_optimizer(optimizer, parameters, tables)
    sites = locate_modules(model)
    if run.streams:
        own = {each.path: model.get_submodule(each.path) for each in layers}
        hidden = {each.path: each.module for each in plain}
        say_what_was_built_before({**tables, **own, **hidden}, sites)
    _observe_tables(tables, run, settings=settings, site=site, sites=sites)
    if layers:
        FlowTracker(
            model, track_interval=settings.track_interval, run=run, sites=sites, watch_site=site
        )
    if plain:
        _observe_unregistered(plain, run, settings=settings, site=site)
    if run.streams:
        known = [each for each in run.trackers if isinstance(each, TrainingTracker)]
        (known or [TrainingTracker(run, site)])[0].observe(model)
    compared = any(isinstance(each, FlowManager) and each.compares(model) for each in run.trackers)
    if not compared and (towers is not None or (settings.towers and has_towers(model))):
        FlowManager(
            model,
            towers,
            track_interval=settings.track_interval,
            run=run,
            sites=sites,
            watch_site=site,
        )


def _tables(model: nn.Module) -> dict[str, nn.Embedding | nn.EmbeddingBag]:
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    }


def _observe_tables(
    tables: Mapping[str, nn.Embedding | nn.EmbeddingBag],
    run: Run,
    *,
    settings: Settings,
    site: SourceSite,
    sites: Mapping[str, SourceSite],
    kept_in: Holder | None = None,
) -> None:
    observed = {id(getattr(tracker, "layer", None)) for tracker in run.trackers}
    for path, module in tables.items():
        if id(module) in observed:
            continue
        EmbeddingTracker(
            module,
            name=path or "embedding",
            auto_fix=settings.auto_fix,
            track_interval=settings.track_interval,
            run=run,
            site=sites[path],
            watch_site=site,
            kept_in=kept_in,
        )


def _observe_unregistered(
    plain: Sequence[Unregistered], run: Run, *, settings: Settings, site: SourceSite
) -> None:
    """Put what is trainable in plain lists under observation, by the names it would have."""
    for kept_in, group in groupby(plain, key=lambda each: each.kept_in):
        owner = nn.Module()
        # As add_module would, which takes no path.
        owner._modules.update({each.path: each.module for each in group})  # pyright: ignore[reportPrivateUsage]
        sites = {
            path: replace(locate_module(module), attribute=path)
            for path, module in owner.named_modules()
        }
        tables = {path: each for path, each in _tables(owner).items() if each.weight.requires_grad}
        _observe_tables(tables, run, settings=settings, site=site, sites=sites, kept_in=kept_in)
        if layers_of(owner, observed_modules(run)):
            FlowTracker(
                owner,
                track_interval=settings.track_interval,
                run=run,
                sites=sites,
                watch_site=site,
                kept_in=kept_in,
            )


def _check_optimizer(
    optimizer: Optimizer,
    parameters: Sequence[nn.Parameter],
    tables: Mapping[str, nn.Embedding | nn.EmbeddingBag],
) -> None:
    """Say what a mistaken optimizer looks like; steps are seen whatever was given here."""
    if not hasattr(optimizer, "param_groups"):
        _log.warning(
            "expected an optimizer, got %s; pass e.g. watch(model, optimizer=optimizer)",
            type(optimizer).__name__,
        )
        return
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if parameters and held.isdisjoint(map(id, parameters)):
        _log.warning(
            "the optimizer given to watch() holds no parameter of the model: build it from the "
            "parameters of the model that is trained"
        )
        return
    strangers = [
        path
        for path, table in tables.items()
        if table.weight.requires_grad and id(table.weight) not in held
    ]
    if strangers:
        _log.warning(
            "the optimizer given to watch() does not hold the weights of %s: until one that does "
            "takes a step, only their look-ups are counted",
            ", ".join(strangers),
        )
