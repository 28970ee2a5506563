"""RecipeGenerator: from a trained model to a recipe whose bytes and quality are known.

Longer than most modules, as it is the whole course: predict, measure the shortlist, solve,
re-evaluate the whole, step back until the floor holds, and say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import nn

from gradtracer.analyzers.embedding import EmbeddingTracker
from gradtracer.analyzers.flow import FlowTracker
from gradtracer.compression.announcing import Announcer
from gradtracer.compression.candidates import CandidateMaker
from gradtracer.compression.couplings import couplings
from gradtracer.compression.loss_rise import Loss
from gradtracer.compression.quality import Evaluate, Ratio, compare, last_above, values_of
from gradtracer.compression.recipe_file import RECIPE_NAME, write_recipe
from gradtracer.compression.sensitivity import Sensitivity, Source, calibrate, of_trackers
from gradtracer.compression.shortlist import Estimate, Measured, estimated, measure
from gradtracer.compression.simulation import simulated
from gradtracer.compression.solver import Choice, front, least_damage
from gradtracer.compression.step import Step, step_of
from gradtracer.compression.units import Candidate, Unit, as_it_is
from gradtracer.compression.wording import reason_for
from gradtracer.exceptions import UsageError
from gradtracer.run import Run
from gradtracer_schemas import LayerRecipe, Recipe

_LADDER = 16
"""Recipes for the whole that are measured at most."""
_LEAST_SLACK = 1e-3
"""What a floor of 1 is taken to leave, as a share of the quality."""


class RecipeGenerator:
    """Finds the smallest form of a model whose quality stays above a floor.

        generator = gradtracer.RecipeGenerator(run, evaluate=ndcg_of_each_user, floor=0.995)
        recipe = generator.generate()
        generator.export_json("gradtracer_recipe.json")

    The model is put in evaluation mode and left as it is.

    Args:
        source: What `watch` returned, a tracker, or the model itself.
        evaluate: Takes a model and returns its quality, larger better: one value for each user
            (array or tensor `[n]`), or a single number, which has no interval. Score users that
            neither trained the model nor chose when to stop it. None: damage is predicted only.
        floor: Least quality that may be left, as a share of what it is now.
        model: Needed where `source` is a tracker of a table whose model nobody watches.
        loss: Takes the model and returns a smooth loss, to predict damage by how it rises. Best the
            cross-entropy of the items held out in `evaluate`; a training batch tells less, and
            `smooth_ndcg` knows which users are asked, so that what is chosen by it suits them.
        look_ups: How often each row of a table was looked up, by the table's path `[N]`; those
            that a tracker counted need not be given.
        dot_products: Pairs of tables that the model uses in dot products with each other and in
            nothing else; None: found by trying, where `evaluate` or `loss` is given.
        max_bytes: Most bytes of the saved weights, before the floor: of what fits, the recipe that
            is reckoned to cost least quality. None: the smallest that holds the
            floor; without `evaluate`, what all of it would take in INT8.
        confidence: That the floor also holds among as many users who were not asked.
        metric: Its name, for people.
        measurements: How often `evaluate` may be called for candidates.
    """

    def __init__(
        self,
        source: Run | EmbeddingTracker | FlowTracker | nn.Module,
        evaluate: Evaluate | None = None,
        floor: float = 0.995,
        *,
        model: nn.Module | None = None,
        loss: Loss | None = None,
        look_ups: Mapping[str, ArrayLike] | None = None,
        dot_products: Sequence[tuple[str, str]] | None = None,
        max_bytes: int | None = None,
        confidence: float = 0.9,
        metric: str = "",
        measurements: int = 60,
    ) -> None:
        if not 0 < floor <= 1:
            raise UsageError(f"floor: expected a share above 0 up to 1, e.g. 0.995, got {floor!r}")
        if not 0.5 <= confidence < 1:
            raise UsageError(f"confidence: expected 0.5 up to 1, e.g. 0.9, got {confidence!r}")
        if evaluate is not None and not callable(evaluate):
            raise UsageError(
                f"evaluate: expected a function of the model, got {type(evaluate).__name__}; e.g. "
                "evaluate=lambda model: ndcg_of_each_user(model)"
            )
        self.model = _model_of(source) if model is None else model
        self.run = source if isinstance(source, Run) else getattr(source, "run", None)
        self.evaluate = evaluate
        self.floor = floor
        self.recipe: Recipe | None = None
        """What `generate` found."""
        self.shortlist: list[Measured] = []
        """Candidates that were measured, one unit changed at a time."""
        self.tried: list[Candidate] = []
        """All whose damage was predicted, measured or not."""
        self._trackers = source.trackers if isinstance(source, Run) else [source]
        self._loss = loss
        self._look_ups = {name: np.asarray(x) for name, x in (look_ups or {}).items()}
        self._dot_products = dot_products
        self._max_bytes = max_bytes
        self._confidence = confidence
        self._metric = metric or getattr(evaluate, "__name__", "").strip("<>")
        self._measurements = measurements
        self._announcer: Announcer | None = None
        self._before: NDArray[np.float64] | None = None
        self._fixed = 0
        self._ladder: list[Step] = []
        self._weighed: tuple[list[Unit], list[list[int]], list[list[float]]] = [], [], []
        self._rest: dict[str, LayerRecipe] = {}
        self._sources: dict[str, Source] = {}

    def generate(self) -> Recipe:
        """Find the recipe; minutes where `evaluate` takes seconds, seconds without it.

        Raises:
            UsageError: `evaluate` gives no finite number, or another number of values each time.
        """
        training = self.model.training
        self.model.eval()
        try:
            recipe = self._generate()
        finally:
            self.model.train(training)
        self.recipe = recipe
        self._announce()
        return recipe

    def export_json(self, path: Path | str = RECIPE_NAME) -> Path:
        """Write the recipe as JSON, whole or not at all; `generate` runs first where it has not.

        Raises:
            OSError: it cannot be written; a file that was there stays as it was.
        """
        recipe = self.recipe or self.generate()
        path = Path(path).resolve()
        root = self.run.root if isinstance(self.run, Run) else None
        inside = root is not None and path.is_relative_to(root)
        name = path.relative_to(root).as_posix() if inside and root else path.name
        self.recipe = msgspec.structs.replace(recipe, path=name)
        write_recipe(path, self.recipe)
        self._announce()
        return path

    def _announce(self) -> None:
        """Tell the run, where there is one, what was found."""
        if self._announcer is None and isinstance(self.run, Run):
            self._announcer = Announcer(self.run, self._trackers)
        if self._announcer is not None and self.recipe is not None:
            self._announcer.tell(self.recipe, 1 if self._before is None else len(self._before))

    def within(self, max_bytes: int) -> Recipe:
        """Of the recipes within so many bytes, the one that is reckoned to cost least, measured.

        What was measured of the wholes does not choose among them: it is noisier than they differ,
        and the best of it would be a smaller one by luck. `generate` runs first where it has not.
        The smallest where none is small enough.

        Raises:
            UsageError: nothing was measured, as there is no `evaluate`.
        """
        if self.evaluate is None:
            raise UsageError(
                "within: expected a measured recipe, e.g. RecipeGenerator(run, evaluate=ndcg)"
            )
        if self.recipe is None:
            self.generate()
        return self._of(self._step_within(max_bytes))

    def _step_within(self, max_bytes: int) -> Step:
        units, sizes, costs = self._weighed
        choice = least_damage(sizes, costs, max_bytes - self._fixed)
        if choice is None:
            return self._ladder[0]
        step = step_of(units, self._fixed, choice)
        for each in self._ladder:
            if each.layers == step.layers:
                return each
        step = step._replace(ratio=self._ratio(step.layers))
        self._ladder = sorted([*self._ladder, step], key=lambda each: each.bytes)
        return step

    def _generate(self) -> Recipe:
        if self.evaluate is not None:
            with torch.no_grad():
                self._before = values_of(self.evaluate, self.model)
        sensitivity = self._sensitivity()
        coupled = couplings(self.model, self.evaluate, self._loss, self._dot_products)
        maker = CandidateMaker(
            self.model,
            sensitivity,
            measures=self.evaluate is not None,
            meets=coupled.meets,
            chains=coupled.chains,
        )
        units = maker.units()
        self.tried = [candidate for unit in units for candidate in unit.tried]
        covered = {name for unit in units for name in unit.layers}
        left = [layer for layer in maker.layers if layer.name not in covered]
        self._fixed = self._total - sum(
            layer.bytes_before for layer in maker.layers if layer.name in covered
        )
        self._rest = as_it_is(left).layers
        self._sources = {
            name: sensitivity.of(name) for unit in units for name in unit.candidates[-1].layers
        }
        if self.evaluate is None:
            return self._predicted(units)
        return self._measured(units)

    @property
    def _total(self) -> int:
        """Bytes of the saved weights as they are."""
        state = self.model.state_dict(keep_vars=True).values()
        return sum({id(x): x.numel() * x.element_size() for x in state}.values())

    def _sensitivity(self) -> Sensitivity:
        found = of_trackers(self._trackers)
        fisher, gates = dict(found.fisher), dict[str, torch.Tensor]()
        if self._loss is not None:
            calibration = calibrate(self.model, self._loss)
            fisher |= calibration.fisher
            gates = calibration.gates
        for name, counts in self._look_ups.items():
            try:
                rows = len(self.model.get_parameter(f"{name}.weight"))
            except AttributeError:
                raise UsageError(
                    f"look_ups: expected paths of tables of this model, got {name!r}"
                ) from None
            if counts.shape != (rows,):
                raise UsageError(
                    f"look_ups[{name!r}]: expected {rows} counts, one a row, got "
                    f"{list(counts.shape)}"
                )
        return Sensitivity({**found.look_ups, **self._look_ups}, fisher, self._loss, gates)

    def _predicted(self, units: list[Unit]) -> Recipe:
        sizes = [[each.bytes for each in unit.candidates] for unit in units]
        # a predicted gain is not relied upon
        costs = [[max(each.damage, each.disturbance) for each in unit.candidates] for unit in units]
        choices = front(sizes, costs, 9)
        bound = self._max_bytes
        if bound is None:
            bound = self._fixed + sum(_bytes_in_int8(unit) for unit in units)
        choice = least_damage(sizes, costs, bound - self._fixed) or choices[0]
        steps = [step_of(units, self._fixed, each) for each in choices]
        return Recipe(
            model=type(self.model).__name__,
            layers=self._told(step_of(units, self._fixed, choice)),
            bytes_before=self._total,
            bytes_after=self._fixed + choice.bytes,
            metric=self._metric,
            floor=self.floor,
            front=[step.point(None) for step in steps],
        )

    def _measured(self, units: list[Unit]) -> Recipe:
        found = measure(units, self._measurements, lambda each: self._ratio(each.layers))
        self.shortlist = list(found.values())
        units, estimates = estimated(units, found)
        sizes = [[each.bytes for each in unit.candidates] for unit in units]
        costs = [[self._cost(each) for each in row] for row in estimates]
        self._weighed = units, sizes, costs
        choices = sorted(front(sizes, costs, _LADDER), key=lambda choice: choice.bytes)
        steps = [step_of(units, self._fixed, choice) for choice in choices]
        self._ladder = [step._replace(ratio=self._ratio(step.layers)) for step in steps]
        if self._max_bytes is not None:
            return self._of(self._step_within(self._max_bytes))
        found = last_above(
            [step.ratio for step in reversed(self._ladder)], self.floor, self._confidence
        )
        if found is not None:
            return self._of(self._ladder[-1 - found])
        untouched = Choice(tuple(len(unit.candidates) - 1 for unit in units), 0, 0.0)
        return self._of(step_of(units, self._fixed, untouched)._replace(bytes=self._total))

    def _cost(self, estimate: Estimate) -> float:
        """What a candidate adds to what users who were not asked may lose: linear, for the solver.

        The loss is a sum of damages and z times the root of a sum of variances; that root V^½ is at
        most V / 2S + S / 2, with equality where z S is what the floor leaves.
        """
        z = 2**0.5 * float(stats.norm.ppf(self._confidence))
        leaves = max(1.0 - self.floor, _LEAST_SLACK)
        return estimate.damage + z**2 / (2 * leaves) * estimate.variance

    def _told(self, step: Step) -> dict[str, LayerRecipe | None]:
        """All layers, each with the reason for what is done to it."""
        return {
            name: msgspec.structs.replace(
                entry, reason=reason_for(entry, self._sources.get(name, "energy"))
            )
            for name, entry in (self._rest | step.layers).items()
        }

    def _of(self, step: Step) -> Recipe:
        assert self._before is not None
        before = float(self._before.mean())
        return Recipe(
            model=type(self.model).__name__,
            layers=self._told(step),
            bytes_before=self._total,
            bytes_after=step.bytes,
            metric=self._metric,
            quality_before=before,
            quality_after=before * step.ratio.value,
            quality_interval=step.ratio.interval,
            quality_level=2 * self._confidence - 1,
            measured=True,
            floor=self.floor,
            floor_held=self.holds(step.ratio),
            front=[each.point(before) for each in self._ladder],
        )

    def holds(self, ratio: Ratio) -> bool:
        """Whether as many users who were not asked would be at or above the floor, too."""
        return ratio.elsewhere >= self.floor

    def _ratio(self, layers: Mapping[str, LayerRecipe]) -> Ratio:
        assert self.evaluate is not None and self._before is not None
        recipe = Recipe(model=type(self.model).__name__, layers=dict(layers))
        with torch.no_grad():
            after = values_of(self.evaluate, simulated(self.model, recipe).eval())
        return compare(self._before, after, self._confidence)


def _bytes_in_int8(unit: Unit) -> int:
    """Of the unit's candidates that are plain INT8 at most, else of what it is."""

    def plain(candidate: Candidate) -> bool:
        return all(
            entry.quantization == "INT8" and not entry.factor and not entry.low_rank
            for entry in candidate.layers.values()
        )

    return next((each.bytes for each in unit.candidates if plain(each)), unit.candidates[-1].bytes)


def _model_of(source: Any) -> nn.Module:
    if isinstance(source, nn.Module):
        return source
    references: list[Any] = [
        getattr(holder, "observed", None) for holder in (source, getattr(source, "run", None))
    ]
    model = next((each() for each in references if each is not None), None)
    if isinstance(model, nn.Module):
        return model
    raise UsageError(
        f"source: expected a model, or a run or tracker that observes one, got "
        f"{type(source).__name__}; pass e.g. RecipeGenerator(run, model=model)"
    )
