"""A model that is built before the import is warned of once, by what that costs."""

from __future__ import annotations

import pytest

BEFORE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.item_emb = nn.Embedding(50, 8)
"""
AFTER = """
import gradtracer
for _ in range(2):
    gradtracer.watch(model)
"""
READ = "the lines of its layers are read from its classes"


@pytest.mark.parametrize(
    ("built", "said"),
    [
        ("model = Net()", READ),
        ("model = nn.ModuleDict({'user': nn.Embedding(5, 2)})", "no line is known of user, and"),
        ("model = nn.Embedding(5, 2)", "no line is known of the model, and"),
        ("model = Net()\nmodel.tables = [nn.Embedding(5, 2)]", "no line is known of tables.0,"),
        (
            "model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(9)])",
            "no line is known of 0, 1, 2, 3 and 5 more, and",
        ),
    ],
)
def test_what_was_built_before_the_import_is_said_once(script, built: str, said: str):
    done = script.run(AFTER, prelude=f"{BEFORE}{built}\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("the model was built before gradtracer was imported: ")
    assert said in done.stderr
    assert done.stderr.endswith("Import gradtracer before the model is built\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("copied", ["Net()", "copy.deepcopy(Net())", "pickle.loads(whole)"])
def test_nothing_is_said_where_the_import_came_first(script, copied: str):
    first = f"import copy, pickle\nimport gradtracer\n{BEFORE}whole = pickle.dumps(Net())\n"
    done = script.run(AFTER, prelude=f"{first}model = {copied}\n")
    assert (done.returncode, done.stderr) == (0, "")
