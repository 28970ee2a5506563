"""However a module comes to be, its definition is recorded, and nothing else is changed by that."""

from __future__ import annotations

import copy
import functools
import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gradtracer
from gradtracer import callsite
from gradtracer_schemas import SourceSite
from patience import PATIENCE


def text(site: SourceSite) -> str:
    return site.frames[0].expression or site.frames[0].text


def call(module: nn.Module) -> str:
    return text(callsite.locate_module(module))


def decorated(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        init(*args, **kwargs)

    return wrapper


class Decorated(nn.Embedding):
    @decorated
    def __init__(self, rows: int) -> None:
        super().__init__(rows, 2)


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._fill()

    def _fill(self) -> None:
        self.linear = nn.Linear(2, 2)


@dataclass(eq=False)
class Record(nn.Module):
    rows: int = 3

    def __post_init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(self.rows, 2)


@dataclass
class Config:
    make: Callable[[], nn.Module] = field(default=lambda: nn.Linear(7, 7))


class ByValue(nn.Linear):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByValue)

    def __hash__(self) -> int:
        return self.no_such_attribute


def activation() -> nn.Module:
    return nn.ReLU()


def test_a_layer_without_parameters_stands_on_its_own_call_not_where_it_is_put() -> None:
    layers = [activation(), nn.Dropout(0.5)]
    model = nn.Sequential(*layers)
    assert [call(each) for each in model] == ["nn.ReLU()", "nn.Dropout(0.5)"]


def test_a_container_stands_on_its_own_call_not_where_it_is_filled() -> None:
    layers = nn.ModuleList()
    layers.append(nn.Linear(1, 1))
    assert call(layers) == "nn.ModuleList()"


def test_a_layer_that_a_method_fills_stands_where_it_was_called_for() -> None:
    tower = Tower()
    assert call(tower) == "Tower()"
    assert call(tower.linear) == "nn.Linear(2, 2)"


def test_a_decorated_constructor_is_the_layers_own() -> None:
    assert call(Decorated(3)) == "Decorated(3)"


def test_dataclasses_partials_and_lambdas() -> None:
    record = Record(rows=4)
    # The generated constructor has no source: its caller is what the user wrote.
    assert call(record.table) == "nn.Embedding(self.rows, 2)"
    make = functools.partial(nn.Linear, 3)
    assert call(make(4)) == "make(4)"
    assert call(Config().make()) == "nn.Linear(7, 7)"


def test_a_lazy_module_keeps_its_place_when_it_takes_its_shape() -> None:
    lazy = nn.LazyLinear(4)
    lazy(torch.zeros(1, 3))
    assert type(lazy) is nn.Linear
    assert call(lazy) == "nn.LazyLinear(4)"


def test_a_module_that_compares_by_value_is_told_apart_by_identity() -> None:
    one = ByValue(1, 2)
    other = ByValue(3, 4)
    assert (call(one), call(other)) == ("ByValue(1, 2)", "ByValue(3, 4)")


def test_a_deep_copy_stands_where_its_original_does() -> None:
    layer = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    model = nn.ModuleList(copy.deepcopy(layer) for _ in range(2))
    sites = gradtracer.locate(model)
    assert text(sites["1"]).startswith("nn.Sequential(")
    assert (text(sites["1.0"]), text(sites["0.1"])) == ("nn.Linear(2, 3)", "nn.ReLU()")
    assert sites["1.0"].origin == "constructor"
    assert call(copy.copy(layer)).startswith("nn.Sequential(")


def test_what_pytorch_copies_stands_where_the_user_built_it() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    sites = gradtracer.locate(model)
    assert text(sites["layers.1.linear1"]).startswith("nn.TransformerEncoderLayer(4")
    assert text(sites["layers"]).startswith("nn.TransformerEncoder(layer")


class Kept(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 5)


def test_a_loaded_model_stands_in_its_classes_and_then_where_it_was_loaded(tmp_path: Path) -> None:
    torch.save(Kept(), tmp_path / "model.pt")
    model = torch.load(tmp_path / "model.pt", weights_only=False)
    sites = gradtracer.locate(model)
    table = sites["table"]
    assert (table.origin, text(table)) == ("class-source", "nn.Embedding(5, 5)")
    assert table.frames[1].text.startswith("model = torch.load(")
    assert (sites[""].origin, sites[""].frames[0].text) == ("call", table.frames[1].text)


def test_a_compiled_model_keeps_the_places_of_its_layers() -> None:
    model = Kept()
    compiled = torch.compile(model, backend="eager")
    sites = gradtracer.locate(compiled)
    assert text(sites["_orig_mod.table"]) == "nn.Embedding(5, 5)"
    assert text(sites[""]).startswith("torch.compile(")


class Plus(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def test_a_compiled_function_that_builds_a_module_is_compiled_whole() -> None:
    def build(x: torch.Tensor) -> torch.Tensor:
        return Plus()(x)

    compiled = torch.compile(build, backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)).item() == 1.0


def test_a_pickle_holds_nothing_of_ours() -> None:
    assert b"gradtracer" not in pickle.dumps(nn.Sequential(nn.Linear(1, 1)))


def test_what_fails_in_the_record_does_not_reach_the_user(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> list[Any]:
        raise RuntimeError("planted")

    monkeypatch.setattr(callsite, "_stack", broken)
    monkeypatch.setattr(callsite, "_failed", False)
    with caplog.at_level(logging.WARNING, logger="gradtracer"):
        layers = [nn.Linear(1, 1), pickle.loads(pickle.dumps(nn.ReLU()))]
    assert callsite.locate_module(layers[0]).origin == "unknown"
    assert len(caplog.records) == 1 and "could not be recorded" in caplog.records[0].message


@pytest.mark.parametrize("given", [None, nn.Linear, {"model": 1}])
def test_what_is_no_model_cannot_be_located(given: Any) -> None:
    with pytest.raises(gradtracer.NotAModel, match=r"expected a torch\.nn\.Module, got "):
        gradtracer.locate(given)


def test_a_deep_stack_keeps_the_innermost_frames_and_the_users_own() -> None:
    def deep(n: int) -> nn.Module:
        return deep(n - 1) if n else nn.Linear(1, 1)

    made = deep(30)
    frames = callsite.locate_module(made).frames
    assert len(frames) == 12
    assert "nn.Linear(1, 1)" in frames[0].text


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_that_was_edited_since_it_was_imported_gives_no_line(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    source = "from torch import nn\n\ndef make():\n    return nn.Linear(1, 1)\n"
    path.write_text(source)
    first = load(path).make()
    path.write_text(source.replace("\n\n", "\n\nunused = nn.Linear(9, 9)\n\n"))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    second = load(path).make()
    assert all(frame.file != str(path) for frame in callsite.locate_module(first).frames)
    assert callsite.locate_module(second).frames[0].start_line == 6


def test_the_same_code_in_two_files_is_placed_in_each(tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("from torch import nn\ndef make():\n    return nn.ReLU()\n")
    made = [load(tmp_path / name).make() for name in ("one.py", "two.py")]
    files = [Path(callsite.locate_module(each).frames[0].file).name for each in made]
    assert files == ["one.py", "two.py"]


def test_a_model_built_before_the_import_is_read_from_its_classes(tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    script.write_text(
        textwrap.dedent("""
        from torch import nn
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.tables = nn.ModuleDict()
                self.tables["item"] = nn.Embedding(3, 2)
        model = Model()
        import gradtracer
        site = gradtracer.locate(model)["tables.item"]
        print(site.origin, site.frames[0].text)
        """)
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == 'class-source self.tables["item"] = nn.Embedding(3, 2)'


def test_a_deep_copy_stands_where_its_original_does_once_the_compiler_was_used(tmp_path: Path):
    script = tmp_path / "train.py"
    script.write_text(COPIED_AFTER_COMPILING, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "nn.Linear(2, 2)"


COPIED_AFTER_COMPILING = """
import copy
import gradtracer
from torch import nn
from torch._dynamo.mutation_guard import install_generation_tagging_init
install_generation_tagging_init()
model = nn.Linear(2, 2)
print(gradtracer.locate(copy.deepcopy(model))[""].frames[0].expression)
"""
