"""Compressed models survive the disk, and a disk that fails them."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gradtracer
from gradtracer.compression.compressed_file import LAYOUT, state_bytes
from gradtracer.exceptions import NotCompressed, UsageError


class Model(nn.Module):
    def __init__(self, items: int = 400, tied: bool = True) -> None:
        super().__init__()
        self.user = nn.Embedding(300, 9)
        self.item = nn.Embedding(items, 9)
        self.mlp = nn.Sequential(nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 9))
        self.out = nn.Linear(9, items)
        if tied:
            self.out.weight = self.item.weight

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.out(self.mlp(self.user(user)) + self.item(item))


def build() -> Model:
    return Model()


LAYERS = {
    "user": {"quantization": "INT4", "factor": {"rank": 5}},
    "item": {"quantization": "INT4"},
    "mlp.0": {"quantization": "INT8", "low_rank": 6},
    "mlp.2": {"quantization": "FP16"},
}
IDS = torch.arange(7)


def compressed() -> nn.Module:
    torch.manual_seed(1)
    return gradtracer.compress(Model().eval(), {"model": "Model", "layers": LAYERS})


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_a_model_comes_back_with_every_answer_and_with_what_it_shares(
    name: str, tmp_path: Path
) -> None:
    model = compressed()
    size = gradtracer.save_compressed(model, tmp_path / name)
    assert size == (tmp_path / name).stat().st_size
    for given in (Model(), Model, f"{__name__}:build"):
        if isinstance(given, str) and __name__.startswith("tests"):
            continue
        loaded = gradtracer.load_compressed(tmp_path / name, given)
        assert torch.equal(loaded(IDS, IDS), model(IDS, IDS))
        assert loaded.get_submodule("item.table") is loaded.get_submodule("out.table")
        assert state_bytes(loaded) == state_bytes(model)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_file_is_plain_tensors_and_little_else(tmp_path: Path) -> None:
    model = compressed()
    sizes = [
        gradtracer.save_compressed(model, tmp_path / f"model.{ending}")
        for ending in ("pt", "safetensors")
    ]
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {type(each) for each in content["state_dict"].values()} == {Tensor}
    assert sizes[1] < state_bytes(model) + 2500


def test_a_file_chooses_what_runs_only_where_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_models.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Embedding(20, 4))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = nn.Sequential(nn.Embedding(20, 4))
    packed = gradtracer.compress(
        model, {"model": "Sequential", "layers": {"0": {"quantization": "INT8"}}}
    )
    gradtracer.save_compressed(packed, tmp_path / "m.pt", factory="shop_models:build")
    with pytest.raises(UsageError, match=r"'shop_models:build' builds its model, and was not tr"):
        gradtracer.load_compressed(tmp_path / "m.pt")
    assert not (tmp_path / "ran").exists()
    loaded = gradtracer.load_compressed(tmp_path / "m.pt", trust_factory=True)
    assert torch.equal(loaded(IDS), packed(IDS))
    assert (tmp_path / "ran").exists()
    gradtracer.save_compressed(packed, tmp_path / "m.pt")
    for trust in (False, True):
        with pytest.raises(UsageError, match=r"does not say what builds the model: pass it"):
            gradtracer.load_compressed(tmp_path / "m.pt", trust_factory=trust)
    for wrong in ("nowhere:build", "shop_models:nothing", "shop_models"):
        with pytest.raises(UsageError, match=f"expected module:function.* got '{wrong}'"):
            gradtracer.load_compressed(tmp_path / "m.pt", wrong)


def test_a_file_of_another_model_names_what_differs(tmp_path: Path) -> None:
    gradtracer.save_compressed(compressed(), tmp_path / "m.pt")
    with pytest.raises(NotCompressed, match=r"expected a Model with a .* got Sequential"):
        gradtracer.load_compressed(tmp_path / "m.pt", nn.Sequential())

    class Longer(Model):
        def __init__(self) -> None:
            super().__init__()
            self.extra = nn.LayerNorm(3)

    with pytest.raises(NotCompressed, match=r"got none for extra.bias, extra.weight"):
        gradtracer.load_compressed(tmp_path / "m.pt", Longer)


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_a_file_that_is_none_is_said_to_be_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"no model at all")
    with pytest.raises(NotCompressed, match="expected a file of save_compressed"):
        gradtracer.load_compressed(path, Model)
    torch.save(Model().state_dict(), tmp_path / "plain.pt")
    with pytest.raises(NotCompressed, match="tensors without a layout"):
        gradtracer.load_compressed(tmp_path / "plain.pt", Model)
    torch.save({LAYOUT: '{"version": 9}', "state_dict": {}}, tmp_path / "later.pt")
    with pytest.raises(NotCompressed, match="update gradtracer"):
        gradtracer.load_compressed(tmp_path / "later.pt", Model)
    with pytest.raises(FileNotFoundError):
        gradtracer.load_compressed(tmp_path / "nowhere.pt", Model)


@contextmanager
def room_for(size: int) -> Generator[None]:
    """No file may grow beyond `size` bytes: what a full disk looks like to who writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_a_disk_that_is_full_leaves_the_old_file_whole_and_no_draft(
    name: str, tmp_path: Path
) -> None:
    model, path = compressed(), tmp_path / name
    gradtracer.save_compressed(model, path)
    old = path.read_bytes()
    with room_for(2000), pytest.raises(OSError):
        gradtracer.save_compressed(Model(4000), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
