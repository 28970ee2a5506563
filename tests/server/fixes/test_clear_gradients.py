from __future__ import annotations

import pytest
from fix_bench import Bench

from gradtracer_server.fixes.proposal import ProposedFix

MAIN = """\
def main():
    optimizer = torch.optim.Adam(model.parameters())
    {before}
    for x in loader:
        model(x).backward()
        {step}
"""


def clear(
    bench: Bench, step: str = "optimizer.step()", before: str = "pass", call: str = ""
) -> tuple[str, ProposedFix]:
    text = MAIN.format(step=step, before=before)
    path = bench.write("a.py", text)
    related = {"step": [bench.frame(path, call or "optimizer.step()", "main")]}
    return text, bench.one("clear-gradients", related=related)


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("optimizer.step()", "optimizer.step()\n        optimizer.zero_grad()"),
        ("optimizer.step()  # go", "optimizer.step()  # go\n        optimizer.zero_grad()"),
        ("if x: optimizer.step()", "if x: optimizer.step(); optimizer.zero_grad()"),
    ],
)
def test_the_call_is_added_after_the_step(bench: Bench, step: str, after: str) -> None:
    text, fix = clear(bench, step)
    assert bench.make(fix) == {"a.py": text.replace(step, after)}
    assert fix.title == "Call optimizer.zero_grad() after the step on line 6"


def test_the_optimizer_of_a_scalers_step_is_cleared(bench: Bench) -> None:
    step = "s.scale(1)\n        s.step(optimizer)"
    text, fix = clear(bench, step, call="s.step(optimizer)")
    assert bench.make(fix) == {"a.py": text.replace(step, f"{step}\n        optimizer.zero_grad()")}


def test_a_call_that_not_every_step_reaches_is_named(bench: Bench) -> None:
    _, fix = clear(bench, before="optimizer.zero_grad()")
    assert fix.disabled_reason is not None
    assert "optimizer.zero_grad() stands around the step on line 6" in fix.disabled_reason


def test_one_beside_the_step_was_added_since(bench: Bench) -> None:
    _, fix = clear(bench, "optimizer.step()\n        optimizer.zero_grad()")
    assert fix.disabled_reason == "line 7 clears them beside the step on line 6"
