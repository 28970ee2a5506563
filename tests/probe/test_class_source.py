"""What was built before `import gradtracer` is placed by its classes' source, or not at all."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

from gradtracer import callsite
from gradtracer.callsite import locate_modules
from gradtracer_schemas import SourceSite

SOURCE = """
import functools
from collections import OrderedDict
from dataclasses import dataclass
import torch
from torch import nn

KINDS = {"relu": nn.ReLU, "tanh": nn.Tanh}

class Activations(dict):
    def __getitem__(self, key):
        cls = super().__getitem__(key)
        return cls()

ACTIVATIONS = Activations(KINDS)

@dataclass
class Config:
    rows: int = 4
    dim: int = 2
    act: type = nn.ReLU

def table(rows, dim):
    return nn.Embedding(rows, dim)

def counted(function):
    @functools.wraps(function)
    def around(*args, **kwargs):
        return function(*args, **kwargs)
    return around

@counted
def block(dim):
    layers = []
    for _ in range(2):
        layers += [nn.Linear(dim, dim), nn.ReLU()]
    layers.append(nn.Linear(dim, 1))
    return nn.Sequential(*layers)

class Base(nn.Module):
    norm_class = nn.LayerNorm

    def __init__(self, config, head):
        super().__init__()
        self.shared = nn.Embedding(config.rows, config.dim)
        self.head = head
        self.setup(config)

    def setup(self, config):
        self.late = nn.Linear(config.dim, 3)

    def _private(self):
        return nn.Linear(1, 2)

class Model(Base):
    def __init__(self, config, deep=True):
        super().__init__(config, head=nn.Linear(2, 7))
        self.table = table(config.rows, config.dim)
        self.tower = block(config.dim)
        self.act = config.act()
        self.picked = ACTIVATIONS["tanh"]
        self.norm = self.norm_class(config.dim)
        narrow = functools.partial(nn.Linear, 2)
        self.narrow = narrow(5)
        self.own = self._private()
        def pair(n):
            return nn.ModuleList([nn.Linear(n, k) for k in (1, 2)])
        self.pairs = pair(3)
        if deep:
            self.stack = nn.ModuleList([nn.Bilinear(1, 1, 1)])
        else:
            self.stack = nn.Bilinear(2, 2, 2)
        self.named = nn.Sequential(OrderedDict([("first", nn.Linear(2, 4)), ("act", nn.ReLU())]))
        self.dict = nn.ModuleDict()
        for name in "ab":
            self.dict[name] = nn.Embedding(3, 3)
        self.grown = nn.ModuleList()
        for _ in range(2):
            self.grown.append(nn.Linear(6, 6))
        self.grown.append(nn.Linear(6, 8))
        for k in range(2):
            setattr(self, f"by_name_{k}", nn.Linear(9, 9))
        self.left, self.right = nn.Linear(1, 3), nn.Linear(1, 4)
        self.gone = eval("nn.Linear")(1, 9) if deep else None
        self.lazy = nn.LazyLinear(4).to("cpu")
        self.weighted = nn.Linear(3, 3)
        self.weighted = nn.utils.parametrizations.weight_norm(self.weighted)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

model = Model(Config())
"""

EXPECTED = {
    "shared": "nn.Embedding(config.rows, config.dim)",
    "head": "nn.Linear(2, 7)",
    "late": "nn.Linear(config.dim, 3)",
    "table": "nn.Embedding(rows, dim)",
    "tower": "nn.Sequential(*layers)",
    "tower.0": "nn.Linear(dim, dim)",
    "tower.2": "nn.Linear(dim, dim)",
    "tower.3": "nn.ReLU()",
    "tower.4": "nn.Linear(dim, 1)",
    "act": "config.act()",
    "picked": "cls()",
    "norm": "self.norm_class(config.dim)",
    "narrow": "narrow(5)",
    "own": "nn.Linear(1, 2)",
    "pairs.1": "nn.Linear(n, k)",
    "stack.0": "nn.Bilinear(1, 1, 1)",
    "named.first": "nn.Linear(2, 4)",
    "named.act": "nn.ReLU()",
    "dict.b": "nn.Embedding(3, 3)",
    "grown.1": "nn.Linear(6, 6)",
    "grown.2": "nn.Linear(6, 8)",
    "by_name_1": "nn.Linear(9, 9)",
    "right": "nn.Linear(1, 4)",
    "lazy": "nn.LazyLinear(4)",
    "weighted": "nn.Linear(3, 3)",
    "weighted.parametrizations": "nn.utils.parametrizations.weight_norm(self.weighted)",
}


def load(folder: Path, source: str) -> ModuleType:
    path = folder / "read_model.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("read_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["read_model"] = module
    spec.loader.exec_module(module)
    return module


def call_of(site: SourceSite) -> str:
    frame = site.frames[0]
    return frame.expression or frame.text


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SourceSite]:
    return locate_modules(load(tmp_path_factory.mktemp("recorded"), SOURCE).model)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SourceSite]:
    module = load(tmp_path_factory.mktemp("read"), SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callsite, "_built", {})
        return locate_modules(module.model)


@pytest.mark.parametrize(("path", "call"), EXPECTED.items())
def test_a_layer_is_placed_on_its_call(
    recorded: dict[str, SourceSite], read: dict[str, SourceSite], path: str, call: str
):
    assert (recorded[path].origin, call_of(recorded[path])) == ("constructor", call)
    assert (read[path].origin, call_of(read[path])) == ("class-source", call)


def test_both_ways_agree_on_every_statement(
    recorded: dict[str, SourceSite], read: dict[str, SourceSite]
):
    apart = {
        path: (call_of(recorded[path]), call_of(site))
        for path, site in read.items()
        if path and site.frames and site.frames[0].start_line != recorded[path].frames[0].start_line
    }
    assert apart == {}
    assert [path for path, site in read.items() if not site.frames] == [""]


def test_what_pytorch_builds_inside_stands_where_the_whole_was_built(read: dict[str, SourceSite]):
    assert "nn.TransformerEncoderLayer(4, 2, 8" in read["encoder.layers.1.linear1"].frames[0].text


def test_the_chain_leads_through_functions_and_owners(read: dict[str, SourceSite]):
    chain = [frame.text for frame in read["tower.0"].frames]
    assert chain == [
        "layers += [nn.Linear(dim, dim), nn.ReLU()]",
        "self.tower = block(config.dim)",
    ]
    assert read["pairs.0"].frames[0].qualname == "Model.__init__.<locals>.pair"


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("class M(nn.Module):\n def __init__(self, x):\n  super().__init__(); self.x = x\n", "x"),
        ("def M(x):\n return nn.ModuleList([x])\n", "0"),
    ],
)
def test_what_the_classes_do_not_tell_has_no_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, path: str
):
    module = load(tmp_path, f"from torch import nn\n{source}made = M(nn.Linear(1, 1))\n")
    monkeypatch.setattr(callsite, "_built", {})
    site = locate_modules(module.made)[path]
    assert (site.frames, site.origin) == ([], "unknown")


def test_nothing_of_the_users_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = """
    from torch import nn
    calls = []
    class Odd:
        def __getattr__(self, name):
            calls.append(name); raise RuntimeError(name)
    odd = Odd()
    class Trap(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Linear(1, 1) if calls else nn.ReLU()
            if calls: self.y = odd.build(odd.size, odd["n"])
        @property
        def z(self):
            calls.append("z")
    made = Trap()
    made.y = nn.Linear(2, 2)
    """
    import textwrap

    module = load(tmp_path, textwrap.dedent(source))
    monkeypatch.setattr(callsite, "_built", {})
    assert call_of(locate_modules(module.made)["x"]) == "nn.ReLU()"
    assert module.calls == []


def test_a_class_without_source_is_no_error(monkeypatch: pytest.MonkeyPatch):
    names: dict[str, object] = {"nn": nn}
    source = "class M(nn.Module):\n def __init__(self):\n  super().__init__(); self.a = nn.ReLU()"
    exec(source, names)
    made = names["M"]()  # type: ignore[operator]
    monkeypatch.setattr(callsite, "_built", {})
    assert locate_modules(made)["a"].frames == []
