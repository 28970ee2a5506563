"""Units that do nothing are found and taken out, and the rest of the model is as it was."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradtracer
from gradtracer.compression.candidates import CandidateMaker
from gradtracer.compression.checkpoint import only
from gradtracer.compression.compressed_file import state_bytes
from gradtracer.compression.formats import bytes_stored
from gradtracer.compression.layers import layers_of
from gradtracer.compression.loss_rise import Loss
from gradtracer.compression.packed_layers import PackedLinear
from gradtracer.compression.pruning import kept_units, taken_out, unit_saliency
from gradtracer.compression.quality import Evaluate
from gradtracer.compression.row_set import pack_rows, unpack_rows
from gradtracer.compression.sensitivity import Sensitivity, calibrate
from gradtracer.compression.simulation import simulated
from gradtracer.exceptions import UsageError
from gradtracer_schemas import LayerRecipe, Recipe

X = torch.randn(400, 8, generator=torch.Generator().manual_seed(3))
USED = np.arange(32) % 4 == 0
"""Units of the first layer that its successor listens to."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out, self.last = nn.Linear(8, 32), nn.Linear(32, 16), nn.Linear(16, 4)
        with torch.no_grad():
            # weights that are large where nobody listens: magnitude alone is deceived
            self.hidden.weight[torch.from_numpy(~USED)] *= 3
            self.out.weight[:, torch.from_numpy(~USED)] *= 1e-3

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.out(torch.relu(self.hidden(x)))))


@pytest.fixture
def net() -> Net:
    return Net().eval()


def closeness_to(target: Tensor) -> Evaluate:
    @torch.no_grad()
    def closeness(model: nn.Module) -> Tensor:
        return 1 - (model(X) - target).square().mean(1) / target.square().mean()

    return closeness


def loss_to(target: Tensor) -> Loss:
    def loss(model: nn.Module) -> Tensor:
        return (model(X) - target).square().mean()

    return loss


def known(net: Net, source: str) -> Sensitivity:
    if source == "energy":
        return Sensitivity({}, {})
    target = net(X).detach() + torch.randn(400, 4, generator=torch.Generator().manual_seed(1))
    found = calibrate(net, loss_to(target))
    return Sensitivity({}, found.fisher, None, found.gates if source == "loss" else {})


@pytest.mark.parametrize("source", ["energy", "fisher", "loss"])
def test_units_that_nobody_listens_to_are_the_least_salient(net: Net, source: str) -> None:
    hidden, out, _ = layers_of(net)
    saliency = unit_saliency(hidden, out, known(net, source))
    assert np.array_equal(kept_units(saliency, 0.25), USED)


def test_the_change_told_is_what_taking_out_does(net: Net) -> None:
    layers = layers_of(net)
    sensitivity = known(net, "energy")
    kept = [
        kept_units(unit_saliency(one, other, sensitivity), 0.5)
        for one, other in itertools.pairwise(layers)
    ]
    changes = taken_out(layers, kept, "INT8")
    recipe = Recipe(model="Net", layers={name: entry for name, (entry, _) in changes.items()})
    expected = simulated(net, recipe)(X)
    with torch.no_grad():
        for name, (_, change) in changes.items():
            net.get_parameter(f"{name}.weight").add_(change)
    assert torch.allclose(net(X), expected, atol=1e-5)


def test_candidates_foretell_the_bytes_of_the_packed_model(net: Net) -> None:
    maker = CandidateMaker(
        net, Sensitivity({}, {}), measures=True, chains=[["hidden", "out", "last"]]
    )
    (unit,) = maker.units()
    assert unit.layers == ("hidden", "out", "last")
    pruned = [each for each in unit.candidates if each.layers["hidden"].kept_units is not None]
    assert pruned
    for candidate in pruned:
        model = gradtracer.compress(net, Recipe(model="Net", layers=dict(candidate.layers)))
        assert state_bytes(model) == candidate.bytes
        assert candidate.bytes == sum(
            bytes_stored(entry, entry.shape[0], entry.shape[1], entry.shape[0])
            for entry in candidate.layers.values()
        )
        hidden, out = candidate.layers["hidden"], candidate.layers["out"]
        assert hidden.kept_units is not None and hidden.kept_units == out.kept_inputs
        assert hidden.prune_ratio == pytest.approx(1 - hidden.kept_units.count / 32)


def test_a_recipe_takes_out_what_is_not_needed_and_survives_the_disk(
    net: Net, tmp_path: Path
) -> None:
    target = net(X).detach()
    generator = gradtracer.RecipeGenerator(
        net, evaluate=closeness_to(target), floor=0.98, loss=loss_to(target)
    )
    recipe = generator.generate()
    hidden, out = recipe.layers["hidden"], recipe.layers["out"]
    assert hidden is not None and hidden.kept_units is not None
    assert out is not None and out.kept_inputs == hidden.kept_units
    kept = unpack_rows(hidden.kept_units, 32)
    assert USED[kept].all() or kept[USED].all()
    assert "of 32 units" in hidden.reason and "of 32 inputs" in out.reason
    assert recipe.floor_held
    path = generator.export_json(tmp_path / "gradtracer_recipe.json")
    packed = gradtracer.compress(net, path)
    layer = packed.get_submodule("hidden")
    assert isinstance(layer, PackedLinear) and layer.table.layout.rows == hidden.kept_units.count
    assert torch.allclose(packed(X), simulated(net, recipe)(X), atol=1e-5)
    gradtracer.save_compressed(packed, tmp_path / "net.safetensors")
    loaded = gradtracer.load_compressed(tmp_path / "net.safetensors", Net)
    assert torch.equal(loaded(X), packed(X))
    assert float(closeness_to(target)(packed).mean()) >= 0.98


def test_a_layer_is_not_taken_without_the_one_that_its_units_feed(net: Net) -> None:
    units = pack_rows(USED)
    recipe = Recipe(
        model="Net",
        layers={
            "hidden": LayerRecipe(kept_units=units),
            "out": LayerRecipe(kept_inputs=units),
            "last": LayerRecipe(quantization="INT8"),
        },
    )
    for one, other in (("hidden", "out"), ("out", "hidden")):
        with pytest.raises(UsageError, match=f"{one} is narrowed together with {other}"):
            only(recipe, [one])
    assert set(only(recipe, ["hidden", "out"]).layers) == {"hidden", "out"}
