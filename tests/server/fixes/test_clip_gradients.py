from __future__ import annotations

import ast

import msgspec
import pytest
from fix_bench import Bench

from gradtracer_schemas import FixOffer
from gradtracer_server.fixes.proposal import FixContext, ProposedFix
from gradtracer_server.fixes.registry import addressed

MAIN = """\
import torch

def main():
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    for x in loader:
        model(x).backward()
        {step}
"""
BUILT = "torch.optim.Adam(model.parameters())"
CLIP = "torch.nn.utils.clip_grad_norm_(model.parameters(), 2.5)"


def clip(
    bench: Bench, text: str, step: str = "optimizer.step()", scope: str = "main", **offered: object
) -> ProposedFix:
    path = bench.write("a.py", text)
    related = {"step": [bench.frame(path, step, scope)]}
    if BUILT in text:
        related["optimizer"] = [bench.frame(path, BUILT, scope)]
    return bench.one("clip-gradients", related=related, **{"max_norm": 2.5, **offered})


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("optimizer.step()", f"{CLIP}\n        optimizer.step()"),
        ("optimizer.step()  # go", f"{CLIP}\n        optimizer.step()  # go"),
        ("a = 1; optimizer.step()", f"a = 1; {CLIP}; optimizer.step()"),
        ("if x: optimizer.step()", f"if x: {CLIP}; optimizer.step()"),
        ("loss = (\n            optimizer.step()\n        )",
         f"{CLIP}\n        loss = (\n            optimizer.step()\n        )"),
    ],
)  # fmt: skip
def test_gradients_are_clipped_right_before_the_step(bench: Bench, step: str, after: str) -> None:
    text = MAIN.format(step=step)
    fix = clip(bench, text)
    assert bench.make(fix) == {"a.py": text.replace(step, after)}
    assert fix.title.startswith("Clip the gradient norm to 2.5 before the step on line ")
    ast.parse(bench.make(fix)["a.py"])


def test_tabs_and_carriage_returns_stay_what_they_are(bench: Bench) -> None:
    text = MAIN.format(step="optimizer.step()").replace("    ", "\t").replace("\n", "\r\n")
    after = text.replace("optimizer.step()", f"{CLIP}\r\n\t\toptimizer.step()")
    assert bench.make(clip(bench, text)) == {"a.py": after}


def test_a_scaled_gradient_is_unscaled_first_and_only_once(bench: Bench) -> None:
    text = MAIN.format(step="s.scale(1)\n        s.step(optimizer)")
    new = f"s.unscale_(optimizer)\n        {CLIP}\n        s.step(optimizer)"
    assert bench.make(clip(bench, text, "s.step(optimizer)")) == {
        "a.py": text.replace("s.step(optimizer)", new)
    }
    text = MAIN.format(step="s.scale(1)\n        s.unscale_(optimizer)\n        s.step(optimizer)")
    assert bench.make(clip(bench, text, "s.step(optimizer)")) == {
        "a.py": text.replace("s.step(", f"{CLIP}\n        s.step(")
    }


def test_accelerates_own_clipping_is_used_where_it_has_the_loop(bench: Bench) -> None:
    text = MAIN.format(step="optimizer.step()").replace(
        "model(x).backward()", "self.accelerator.backward(model(x))"
    )
    own = CLIP.replace("torch.nn.utils", "self.accelerator")
    assert bench.make(clip(bench, text))["a.py"] == text.replace(
        "optimizer.step()", f"{own}\n        optimizer.step()"
    )


@pytest.mark.parametrize(
    ("imports", "name", "added"),
    [
        ("from torch import nn", "nn.utils.clip_grad_norm_", ""),
        ("import torch.nn as N", "N.utils.clip_grad_norm_", ""),
        ("from torch.nn.utils import clip_grad_norm_ as clip", "clip", ""),
        ("from torch.nn.utils import rnn", "clip_grad_norm_", ", clip_grad_norm_"),
        ("import numpy", "torch.nn.utils.clip_grad_norm_", "\nimport torch"),
        ("'''Doc.'''", "torch.nn.utils.clip_grad_norm_", "\nimport torch"),
    ],
)
def test_the_function_is_named_in_the_files_own_style(
    bench: Bench, imports: str, name: str, added: str
) -> None:
    text = MAIN.format(step="optimizer.step()").replace("import torch", imports)
    expected = text.replace(imports, imports + added).replace(
        "optimizer.step()", f"{name}(model.parameters(), 2.5)\n        optimizer.step()"
    )
    assert bench.make(clip(bench, text))["a.py"] == expected


def test_where_the_model_has_no_name_the_optimizers_own_parameters_are_clipped(
    bench: Bench,
) -> None:
    text = (
        "import torch\n"
        "def step(opt):\n"
        "    opt.step()\n"
        "model = Net()\n"
        "step(torch.optim.Adam(model.parameters()))\n"
    )
    path = bench.write("a.py", text)
    frames = [
        bench.frame(path, "opt.step()", "step"),
        bench.frame(path, "step(torch.optim.Adam(model.parameters()))"),
    ]
    fix = bench.one("clip-gradients", related={"step": frames}, max_norm=1)
    held = '[p for group in opt.param_groups for p in group["params"]]'
    assert (
        f"    torch.nn.utils.clip_grad_norm_({held}, 1)\n    opt.step()"
        in (bench.make(fix)["a.py"])
    )


def test_a_norm_that_is_clipped_higher_is_lowered(bench: Bench) -> None:
    text = MAIN.format(step=f"{CLIP.replace('2.5', '10')}\n        optimizer.step()")
    fix = clip(bench, text)
    assert bench.make(fix) == {"a.py": text.replace("10)", "2.5)")}
    assert fix.title == "Lower max_norm on line 8 to 2.5"


@pytest.mark.parametrize(("met", "is_addressed"), [(9.0, True), (0.5, False), (None, False)])
def test_clipping_addresses_a_finding_only_where_the_run_met_a_larger_norm(
    bench: Bench, met: float | None, is_addressed: bool
) -> None:
    path = bench.write("a.py", MAIN.format(step=f"{CLIP}\n        optimizer.step()"))
    parameters = {"max_norm": 2.5} | ({} if met is None else {"measured_norm": met})
    diagnosis = bench.diagnosis(
        fixes=[FixOffer(fix="clip-gradients", parameters=parameters)],
        related={"step": [bench.frame(path, "optimizer.step()", "main")]},
    )
    assert addressed(FixContext(diagnosis, None, bench.frames)) is is_addressed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("pl.Trainer(max_epochs=3)", "pl.Trainer(max_epochs=3, gradient_clip_val=2.5)"),
        (
            "pl.Trainer(gradient_clip_val=None)",
            "pl.Trainer(gradient_clip_val=2.5)",
        ),
        ("pl.Trainer(gradient_clip_val=9.0)", "pl.Trainer(gradient_clip_val=2.5)"),
    ],
)
def test_lightning_is_told_where_its_trainer_is_built(
    bench: Bench, before: str, after: str
) -> None:
    text = f"trainer = {before}\ntrainer.fit(model)\n"
    fix = _in_library(bench, text, "trainer.fit(model)")
    assert bench.make(fix) == {"a.py": text.replace(before, after)}


def test_transformers_is_told_where_its_arguments_are_built(bench: Bench) -> None:
    text = (
        "from transformers import Trainer, TrainingArguments\n"
        "args = TrainingArguments(\n    'out',\n    max_grad_norm=5.0,\n)\n"
        "trainer = Trainer(model, args)\n"
        "trainer.train()\n"
    )
    fix = _in_library(bench, text, "trainer.train()")
    assert bench.make(fix) == {"a.py": text.replace("5.0", "2.5")}


def _in_library(bench: Bench, text: str, call: str) -> ProposedFix:
    path = bench.write("a.py", text)
    outer = bench.frame(path, call)
    inner = msgspec.structs.replace(outer, file="/usr/lib/trainer.py")
    return bench.one("clip-gradients", related={"step": [inner, outer]}, max_norm=2.5)


@pytest.mark.parametrize(
    ("text", "call", "offered", "reason"),
    [
        (MAIN.format(step="optimizer.step(f)"), "optimizer.step(f)", {}, "loss in a closure"),
        (
            MAIN.format(step="while optimizer.step(): pass"),
            "optimizer.step()",
            {},
            "line 8 is the head of a block",
        ),
        (
            MAIN.format(step="optimizer.step()"),
            "optimizer.step()",
            {"max_norm": float("nan")},
            "expected the max_norm to try, above 0, got nan",
        ),
        (
            MAIN.format(step="clip_grad_norm_(p, **kw)\n        optimizer.step()"),
            "optimizer.step()",
            {},
            "the max_norm on line 8 cannot be read",
        ),
    ],
)
def test_what_cannot_be_clipped_says_why(
    bench: Bench, text: str, call: str, offered: dict[str, object], reason: str
) -> None:
    fix = clip(bench, text, call, **offered)
    assert fix.disabled_reason is not None and reason in fix.disabled_reason


def test_sparse_gradients_are_not_clipped(bench: Bench) -> None:
    fix = clip(
        bench, MAIN.format(step="optimizer.step()") + "e = nn.Embedding(9, 2, sparse=True)\n"
    )
    assert fix.disabled_reason == (
        "the gradients of the table on line 9 of a.py are sparse, which clip_grad_norm_ cannot take"
    )
    fix = clip(bench, MAIN.format(step="optimizer.step()") + "e = to_dense(9, sparse=True)\n")
    assert fix.disabled_reason is None


def test_a_run_without_a_recorded_step_uses_the_only_one_of_the_file(bench: Bench) -> None:
    watch = "gradtracer.watch(model, optimizer)"
    text = MAIN.format(step="optimizer.step()") + f"    {watch}\n"
    path = bench.write("a.py", text)
    fix = bench.one("clip-gradients", watch=[bench.frame(path, watch, "main")], max_norm=2.5)
    assert bench.make(fix)["a.py"] == text.replace(
        "optimizer.step()", f"{CLIP}\n        optimizer.step()"
    )
    path = bench.write("a.py", text + "    optimizer.step()\n")
    fix = bench.one("clip-gradients", watch=[bench.frame(path, watch, "main")], max_norm=2.5)
    assert fix.disabled_reason == "optimizer.step() stands in 2 places of a.py"
