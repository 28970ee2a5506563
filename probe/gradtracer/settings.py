"""Every setting of the probe, with its default and the reason for it.

Order of precedence, the last wins: `[tool.gradtracer]` in pyproject.toml, arguments of the call,
environment variables `GRADTRACER_<NAME>`.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from gradtracer.exceptions import SettingsError

_log = logging.getLogger("gradtracer")

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one run."""

    enabled: bool = True
    """False: `watch` returns a run that observes and writes nothing."""
    folder: str | None = None
    """Folder to hold `.gradtracer`; by default the script's project (see `run.project_root`)."""
    publish: bool = True
    """False: journal only, no socket."""
    control: bool = True
    """False: nobody may change the run while it goes on."""
    track_interval: Annotated[int, msgspec.Meta(ge=1)] = 10
    """Share of steps whose gradients are followed is 1/track_interval, in bursts of consecutive
    steps. Exposure is counted at every step all the same."""
    report_seconds: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Shortest time between two reports; it grows to 1/200 of the run's age."""
    report_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.02
    """Longest share of the time the reporting thread may spend on statistics."""
    auto_fix: bool = False
    """Shrink the updates of rows named by ZOMBIE_EMBEDDINGS."""
    auto_fix_holdout: Share = 0.2
    """Share of eligible rows left untreated as control. At 0 its effect cannot be measured, and
    nothing can stop it; at 1 nothing is treated."""
    auto_fix_rows: Literal["named", "all"] = "named"
    """Which rows: those that ZOMBIE_EMBEDDINGS names, or all that are known well enough. `all` acts
    only where the loss is given and no longer improves."""
    auto_fix_floor: Share = 0.3
    """Smallest factor on a row's updates: a row must be able to learn again."""
    seed: int = 0
    """Seed of every random choice of the probe; none touches the training's generators."""
    zombie_fdr: Share = 0.05
    """Expected share of false names among zombie rows: the usual level for a list to look into."""
    oscillation_fdr: Share = 0.01
    """The same for oscillating rows: stricter, as the null value is only a bound."""
    dead_share: Share = 0.01
    """Raise DEAD_EMBEDDINGS from this share of rows: below 1 % of a table nothing is gained."""
    popularity_gini: Share = 0.757
    """Gini of a Pareto law in which 20 % of rows hold 80 %: 1 / (2 log4(5) - 1)."""
    collapse_share: Share = 0.5
    """Raise REPRESENTATION_COLLAPSE below this share of the effective rank that independent
    entries would have: the table then fits in half of its width."""
    drift_share: Share = 0.5
    """Raise EMBEDDING_DRIFT when more than this share of movement falls on untouched rows."""
    towers: bool = True
    """Compare the towers of a model that has several, as names or classes of its parts tell."""
    tower_pace_ratio: Annotated[float, msgspec.Meta(gt=1)] = 10.0
    """Raise TOWER_IMBALANCE when one tower moves so many times as far as another: when the fast one
    has gone all its way, the slow one has gone a tenth of a like one."""
    start_share: Share = 0.25
    """Raise MISSING_REGULARIZATION when more than this share of the squared way that a table's rows
    have gone only takes back their random first values: they then went more than half as far
    towards zero as anywhere else."""
    start_left: Share = 0.5
    """Raise it, too, when those values hold more than this share of the squared norm at the end of
    a run: the table is then more noise than data."""
    undertrained_pace: Share = 0.5
    """Raise UNDERTRAINED when the later half of a run still went at this share of its mean pace:
    where progress fades exponentially, a ninth of it is then still to come."""
    risen_loss: Share = 0.01
    """Raise LEARNING_RATE_TOO_HIGH when the training loss has risen by more than this share of its
    minimum: less is no reason to train anew."""
    noise_floor_share: Share = 0.25
    """Raise it, too, when the wandering of the weights holds more than this share of the training
    loss: a third of the rate then takes a sixth of the loss away."""
    overfit_share: Share = 0.01
    """Raise OVERFITTING_ROUNDS, and MISSING_REGULARIZATION for a metric that turns, when more than
    this share of what the validation metric had gained is lost again: less is no reason to train
    anew."""
    stagnant_share: Share = 0.025
    """Raise STAGNANT_LEAVES when the last quarter of the rounds goes less than this share of the
    margin's path: a tenth of what equal steps would go."""
    redundant_share: Share = 0.25
    """Raise REDUNDANT_TREES when at least this share of the rounds can be left out."""
    redundant_loss: Share = 0.001
    """A round can be left out while the validation metric stays within this share of what it had
    gained."""
    concentration_share: Share = 0.5
    """Raise SPLIT_CONCENTRATION when one feature holds more than this share of the gain: more than
    all others together."""
    leakage_share: Share = 0.9
    """Raise TARGET_LEAKAGE when one feature holds more than this share of the gain, and by itself
    explains more than this share of the target."""
    snr_floor: Annotated[float, msgspec.Meta(gt=0)] = 0.01
    """Raise LOW_GRADIENT_SNR below this ratio: noise then outweighs the direction until 100 steps
    are averaged, more than momentum ever does."""
    vanishing_ratio: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 1e-4
    """Raise VANISHING_GRADIENTS when a layer's gradient, for its weights, is below this share of
    the strongest's: it goes in ten thousand steps what the other goes in one."""
    stagnation_ratio: Annotated[float, msgspec.Meta(gt=0)] = 1e-6
    """Raise STAGNATION when updates stay below this share of the weights: at best 1 % in 10,000
    steps, a thousandth of the usual pace."""
    dead_unit_share: Share = 0.25
    """Raise DEAD_NEURONS from this share of a layer's units: some die in any training with ReLU; a
    quarter in two layers is nearly half of the weights between them."""
    saturated_slope: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    """A unit is saturated when its activation passes less than this share of the gradient that it
    passes at its centre: after three such layers less than the share of VANISHING_GRADIENTS."""
    saturated_unit_share: Share = 0.25
    """Raise SATURATED_ACTIVATIONS from this share of a layer's units, as DEAD_NEURONS: healthy
    trainings keep to a few percent, and what such a unit learned it can hardly learn anew."""
    explosion_ratio: Annotated[float, msgspec.Meta(gt=0)] = 0.05
    """Raise EXPLODING_UPDATES only for updates above this share of the weights: fifty times the
    usual pace."""
    explosion_growth: Annotated[float, msgspec.Meta(gt=1)] = 10.0
    """And when the weights' norm grew so much within a burst, or between two: Adam's first 16 steps
    at a usual rate reach a factor of 3."""
    explosion_factor: Annotated[float, msgspec.Meta(gt=1)] = 5.0
    """Or when updates are so many times larger than in any earlier burst of the layer."""


_BARE_POINT = re.compile(r"[+-]?(\d+\.|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
"""`.05` and `5.`: numbers in a shell, and not in JSON, by which other words are read."""


def load_settings(root: Path, **arguments: object) -> Settings:
    """Merge file, arguments (None means not given) and environment.

    Raises:
        SettingsError: unknown name (the nearest one is named) or a value that does not fit.
    """
    sources = {
        "[tool.gradtracer] in pyproject.toml": _from_pyproject(root),
        "arguments": {name: value for name, value in arguments.items() if value is not None},
        "environment": _from_environment(),
    }
    merged: dict[str, Any] = {}
    for source, given in sources.items():
        for name, value in given.items():
            merged[name] = _checked(name, value, source)
    return msgspec.convert(merged, Settings, strict=False)


def _checked(name: str, value: Any, source: str) -> Any:
    if name not in Settings.__struct_fields__:
        near = difflib.get_close_matches(name, Settings.__struct_fields__, n=1, cutoff=0.0)
        raise SettingsError(
            f"unknown setting {name!r} ({source}); the nearest valid one is {near[0]!r}"
        )
    if isinstance(value, str) and _BARE_POINT.fullmatch(value):
        value = float(value)
    try:
        msgspec.convert({name: value}, Settings, strict=False)
    except msgspec.ValidationError as error:
        place = f"GRADTRACER_{name.upper()}" if source == "environment" else f"{name} ({source})"
        example = Settings.__struct_defaults__[Settings.__struct_fields__.index(name)]
        wanted = str(error).partition(" - at ")[0]
        raise SettingsError(f"{place} = {value!r}: {wanted}; e.g. {example!r}") from None
    return value


_told: set[Path] = set()
"""Files that were said to be unreadable: settings are read again for each training."""


def _from_pyproject(root: Path) -> dict[str, Any]:
    path = root / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # A project file that other tools reject too must not stop a training.
        if path not in _told:
            _told.add(path)
            _log.warning("%s: %s; its settings are not used", path, error)
        return {}
    tools = table.get("tool")
    ours = tools.get("gradtracer") if isinstance(tools, dict) else None
    if not isinstance(ours, dict):
        return {}
    # Tables below ours belong to other parts, such as the server.
    return {name: value for name, value in ours.items() if not isinstance(value, dict)}


def _from_environment() -> dict[str, str]:
    prefix = "GRADTRACER_"
    found: dict[str, str] = {}
    for variable, value in os.environ.items():
        name = variable.removeprefix(prefix).lower()
        if not variable.startswith(prefix):
            continue
        if name in Settings.__struct_fields__:
            found[name] = value
        elif near := difflib.get_close_matches(name, Settings.__struct_fields__, n=1, cutoff=0.8):
            # Others may use the prefix for things of their own, so this is no error.
            _log.warning("%s is no setting; did you mean %s%s?", variable, prefix, near[0].upper())
    return found
