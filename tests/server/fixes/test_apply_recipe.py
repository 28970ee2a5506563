"""apply-recipe: the model is compressed once, where it is trained and not yet saved."""

from __future__ import annotations

import ast

import msgspec
import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

SCRIPT = """\
import gradtracer
import torch


def main():
    model = Net()
    run = gradtracer.watch(model)
    for epoch in range(3):
        for x in loader:
            model(x).backward()
        torch.save(model.state_dict(), f"{epoch}.pt")
    print(evaluate(model))
    torch.save(model.state_dict(), "model.pt")  # the one that is served
"""
WATCH = "gradtracer.watch(model)"
LINE = 'model = gradtracer.compress(model, "gradtracer_recipe.json")'
SAVE = '    torch.save(model.state_dict(), "model.pt")'


def compress(
    bench: Bench, text: str, watch: str = WATCH, scope: str = "main", path: object = "x"
) -> ProposedFix:
    file = bench.write("a.py", text)
    given = "gradtracer_recipe.json" if path == "x" else path
    return bench.one("apply-recipe", watch=[bench.frame(file, watch, scope)], path=given)


def test_it_is_compressed_right_before_the_last_save(bench: Bench) -> None:
    fix = compress(bench, SCRIPT)
    assert bench.make(fix) == {"a.py": SCRIPT.replace(SAVE, f"    {LINE}\n{SAVE}")}
    assert fix.title == "Compress model by gradtracer_recipe.json before it is saved on line 13"
    ast.parse(bench.make(fix)["a.py"])


def test_without_a_save_it_follows_the_training_loop(bench: Bench) -> None:
    text = SCRIPT.replace(SAVE, "    pass")
    made = bench.make(compress(bench, text))["a.py"]
    assert made == text.replace("    print(", f"    {LINE}\n    print(", 1)


def test_the_loop_may_be_inside_a_with_block(bench: Bench) -> None:
    text = (
        "import gradtracer\n\nmodel = Net()\n"
        "with gradtracer.watch(model) as run:\n    for x in loader:\n        step(x)\n"
    )
    made = bench.make(compress(bench, text, scope="<module>"))["a.py"]
    assert made == f"{text}    {LINE}\n" or made == text.rstrip("\n") + f"\n    {LINE}\n"


@pytest.mark.parametrize(
    "save",
    [
        'save_file(model.state_dict(), "model.safetensors")',
        'model.save_pretrained("out")',
        'torch.save({"model": model.state_dict(), "epoch": 3}, "model.pt")',
        "pickle.dump(model, file); torch.save(model, file)",
    ],
)
def test_many_ways_to_save_are_known(bench: Bench, save: str) -> None:
    text = SCRIPT.replace('torch.save(model.state_dict(), "model.pt")', save)
    made = bench.make(compress(bench, text))["a.py"]
    assert made.index(LINE) < made.index(save.split("; ")[-1])
    ast.parse(made)


def test_a_save_of_something_else_is_no_place(bench: Bench) -> None:
    text = SCRIPT.replace(
        'torch.save(model.state_dict(), "model.pt")',
        'torch.save(other_model.state_dict(), "o.pt"); torch.save(optimizer.state_dict(), "p.pt")',
    )
    assert "after the loop on line 8" in compress(bench, text).title


def test_a_module_known_by_another_name_is_called_by_it(bench: Bench) -> None:
    text = SCRIPT.replace("import gradtracer\n", "import gradtracer as gt\n").replace(
        WATCH, "gt.watch(model)"
    )
    made = bench.make(compress(bench, text, "gt.watch(model)"))["a.py"]
    assert LINE.replace("gradtracer.compress", "gt.compress") in made


def test_an_attribute_is_rebound_as_it_is_named(bench: Bench) -> None:
    text = SCRIPT.replace("(model", "(self.model").replace("def main()", "def main(self)")
    made = bench.make(compress(bench, text, "gradtracer.watch(self.model)"))["a.py"]
    assert 'self.model = gradtracer.compress(self.model, "gradtracer_recipe.json")' in made


def test_it_is_offered_once(bench: Bench) -> None:
    text = SCRIPT.replace(SAVE, f"    {LINE}\n{SAVE}")
    path = bench.write("a.py", text)
    offer = FixOffer(fix="apply-recipe", parameters={"path": "gradtracer_recipe.json"})
    diagnosis = bench.diagnosis(watch=[bench.frame(path, WATCH, "main")], fixes=[offer])
    assert addressed(FixContext(diagnosis, None, bench.frames))
    other = msgspec.structs.replace(diagnosis, fixes=[])
    assert not addressed(FixContext(other, None, bench.frames))
    assert "is compressed on line 13 already" in str(compress(bench, text).disabled_reason)


@pytest.mark.parametrize(
    ("text", "watch", "reason"),
    [
        (SCRIPT.replace("(model)\n    for", "(build())\n    for"), "gradtracer.watch(build())",
         "has no name"),
        (SCRIPT.split("    for")[0], WATCH, "neither a loop nor a save"),
    ],
    ids=["unnamed", "nowhere"],
)  # fmt: skip
def test_where_it_does_not_apply_it_says_why(
    bench: Bench, text: str, watch: str, reason: str
) -> None:
    assert reason in str(compress(bench, text, watch).disabled_reason)


@pytest.mark.parametrize("path", ["", None, 3, "/etc/passwd", "../../x.json", 'a".json', "a\nb"])
def test_a_path_that_is_no_file_of_the_project_is_refused(bench: Bench, path: object) -> None:
    assert "expected" in str(compress(bench, SCRIPT, path=path).disabled_reason)
