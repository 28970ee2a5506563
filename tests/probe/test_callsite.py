"""Every layer is placed on the statement that built it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

import gradtracer
from gradtracer import callsite
from gradtracer.callsite import call_site, locate_modules
from gradtracer_schemas import SourceSite
from patience import PATIENCE

SOURCE = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, n, dim=8):
        super().__init__()
        self.item_emb = nn.Embedding(
            n, dim,  # für später
        )
        self.mlp = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))
        self.tables = nn.ModuleList([nn.Embedding(k, 4) for k in (3, 5)])
        self.named = nn.ModuleDict({"a": nn.EmbeddingBag(2, 2)})
        for k in range(2):
            self.add_module(f"late_{k}", nn.Embedding(4, k + 1))
        if n > 1: self.short = nn.Embedding(1, 1)
        first = 1; self.second = nn.Embedding(2, 1); third = 3

class Own(nn.Embedding):
    def __init__(self, *sizes):
        super().__init__(*sizes)

class Child(Model):
    pass

def build():
    return Model(10, dim=16)

model = build()
own = Own(3, 4)
child = Child(2)
"""


def load(folder: Path, source: str) -> ModuleType:
    path = folder / "built_model.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("built_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def innermost(site: SourceSite) -> tuple[str, str]:
    return site.frames[0].text, site.frames[0].expression


@pytest.fixture
def built(tmp_path: Path) -> ModuleType:
    return load(tmp_path, SOURCE)


def test_a_table_is_on_its_own_multi_line_statement(built: ModuleType):
    site = locate_modules(built.model)["item_emb"]
    frame = site.frames[0]
    assert site.origin == "constructor"
    assert frame.text.startswith("self.item_emb = nn.Embedding(\n")
    assert frame.text.endswith(")")
    assert frame.expression.startswith("nn.Embedding(")
    assert frame.qualname == "Model.__init__"
    lines = SOURCE.splitlines()
    assert "self.item_emb" in lines[frame.start_line - 1]
    assert lines[frame.start_line - 1][frame.start_column :].startswith("self.item_emb")
    assert lines[frame.end_line - 1][: frame.end_column].strip() == ")"


def test_the_chain_leads_out_to_the_script(built: ModuleType):
    chain = [frame.text for frame in locate_modules(built.model)["item_emb"].frames]
    assert chain[1:3] == ["return Model(10, dim=16)", "model = build()"]


def test_each_layer_of_a_sequential_is_on_its_own_call(built: ModuleType):
    sites = locate_modules(built.model)
    assert innermost(sites["mlp.0"])[1] == "nn.Linear(8, 4)"
    assert innermost(sites["mlp.2"])[1] == "nn.Linear(4, 1)"


@pytest.mark.parametrize(
    ("path", "expression"),
    [
        ("tables.1", "nn.Embedding(k, 4)"),
        ("named.a", "nn.EmbeddingBag(2, 2)"),
        ("late_1", "nn.Embedding(4, k + 1)"),
        ("short", "self.short = nn.Embedding(1, 1)"),
        ("second", "self.second = nn.Embedding(2, 1)"),
    ],
)
def test_lists_dictionaries_loops_and_one_liners_are_placed(
    built: ModuleType, path: str, expression: str
):
    assert expression in innermost(locate_modules(built.model)[path])


def test_a_subclass_is_placed_where_it_is_called_not_in_its_own_constructor(built: ModuleType):
    assert innermost(callsite.locate_module(built.own))[0] == "own = Own(3, 4)"


def test_an_inherited_constructor_is_placed_in_the_parent_class(built: ModuleType):
    frames = locate_modules(built.child)["item_emb"].frames
    assert frames[0].qualname == "Model.__init__"
    assert frames[1].text == "child = Child(2)"


def test_a_model_built_before_the_import_falls_back_to_its_class_source(
    built: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(callsite, "_built", {})
    sites = locate_modules(built.model)
    assert sites["item_emb"].origin == "class-source"
    assert innermost(sites["item_emb"])[0].startswith("self.item_emb = nn.Embedding(")
    assert innermost(sites["mlp.2"])[0].startswith("self.mlp = nn.Sequential(")
    assert locate_modules(built.child)["item_emb"].frames[0].qualname == "Model.__init__"
    assert "nn.Embedding(4, k + 1)" in innermost(sites["late_0"])


def test_a_model_without_source_has_no_site_and_no_error():
    namespace: dict[str, object] = {"nn": nn}
    exec("model = nn.ModuleList([nn.Embedding(2, 2)])", namespace)
    model = namespace["model"]
    assert isinstance(model, nn.Module)
    site = locate_modules(model)["0"]
    assert all(frame.file != "<string>" for frame in site.frames)


def test_the_call_site_is_the_users_statement():
    site = gradtracer.callsite.call_site()
    assert site.origin == "call"
    assert site.frames[0].text == "site = gradtracer.callsite.call_site()"
    assert site.frames[0].file == str(Path(__file__).absolute())


def test_the_digest_is_of_the_text():
    import hashlib

    frame = call_site().frames[0]
    assert frame.digest == hashlib.sha256(frame.text.encode()).hexdigest()[:16]


def test_recording_works_when_gradtracer_is_imported_before_torch(tmp_path: Path):
    script = tmp_path / "first.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        import gradtracer
        assert "torch" not in sys.modules
        import torch
        table = torch.nn.Embedding(2, 2)
        print(gradtracer.callsite.locate_module(table).frames[0].text)
        print(torch.nn.modules.module.__spec__.loader.__class__.__name__)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.split("\n")[:2] == [
        "table = torch.nn.Embedding(2, 2)",
        "SourceFileLoader",
    ], done.stderr


# In a process of its own: what other tests have built may be let go at any moment.
COLLECTED = """
import gc
import gradtracer
from gradtracer import callsite
from torch import nn
gc.collect()
before = len(callsite._built)
modules = [nn.Embedding(1, 1) for _ in range(50)]
assert len(callsite._built) == before + 50
del modules
gc.collect()
assert len(callsite._built) == before
"""


def test_a_collected_module_leaves_nothing_behind():
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_recording_changes_no_initial_weight():
    code = (
        "{}import torch; torch.manual_seed(0); "
        "m = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 2)); "
        "print([p.tolist() for p in m.parameters()])"
    )
    with_us, without = (
        subprocess.run(
            [sys.executable, "-c", code.format(first)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout
        for first in ("import gradtracer; ", "")
    )
    assert with_us == without
