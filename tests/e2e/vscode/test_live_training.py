"""The whole story in a real VS Code: train, see, understand, fix, and lose neither end of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect
from workbench import Workbench

from patience import PATIENCE

Train = Callable[..., "subprocess.Popen[bytes]"]
OpenFolder = Callable[..., Workbench]
LIVE_MS = 1000 * PATIENCE
HINT = re.compile(r"rank\s[\d.]+/64")
DEFINITION, COLUMN = 38, 30
"""Where the example defines `item_emb`: within the call."""


def test_live_training_is_seen_understood_and_fixed(
    example: Path, train: Train, open_folder: OpenFolder
) -> None:
    before = example.read_text(encoding="utf-8")
    bench = open_folder(example.parent)
    bench.open(example.name)
    bench.picture("opened")

    training = train("--slow", "0.003", "--epochs", "60")
    bench.go_to_line(DEFINITION)
    expect(bench.squiggles.nth(1)).to_be_visible(timeout=LIVE_MS)
    expect(bench.status("Training movielens_mf.py: step")).to_be_visible()
    bench.picture("squiggle")

    line = bench.line(r"self\.item_emb = nn\.Embedding")
    expect(line).to_contain_text(HINT)
    bench.command("GradTracer: Toggle Hints at the End of Lines")
    expect(line).not_to_contain_text(HINT)
    bench.command("GradTracer: Toggle Hints at the End of Lines")
    expect(line).to_contain_text(HINT)

    rows = bench.problems().filter(has_text="effective rank")
    expect(rows).to_have_count(2)
    bench.picture("problems")
    bench.close_panel()

    bench.go_to_line(DEFINITION, COLUMN)
    hover = bench.hover()
    expect(hover).to_contain_text("effective rank")
    expect(hover).to_contain_text("Live: step")
    bench.picture("hover")
    bench.page.keyboard.press("Escape")

    fix = bench.quick_fixes().filter(has_text="Lower weight_decay")
    bench.picture("fixes")
    fix.click()
    expect(bench.problems().filter(has_text="effective rank")).to_have_count(0)
    bench.picture("fixed")
    bench.save()
    after = before.replace("default=1e-4)", "default=1e-5)")
    assert example.read_text(encoding="utf-8") == after
    assert training.poll() is None, "the training was to be live"

    training.send_signal(signal.SIGINT)
    training.wait(timeout=PATIENCE)
    expect(bench.status("Training movielens_mf.py: step")).to_have_count(0)
    bench.go_to_line(DEFINITION, COLUMN)
    expect(bench.hover()).to_contain_text("interrupted at step")
    bench.picture("ended")
    assert bench.errors == []


def test_a_server_that_dies_comes_back_and_one_that_keeps_dying_is_given_up(
    example: Path, train: Train, open_folder: OpenFolder
) -> None:
    train("--slow", "0.001", "--epochs", "10").wait(timeout=PATIENCE)
    bench = open_folder(example.parent)
    bench.open(example.name)
    bench.go_to_line(DEFINITION)
    expect(bench.squiggles.nth(1)).to_be_visible()
    killed: set[int] = set()
    for _ in range(4):
        killed.add(_kill_server(example.parent, killed))
        expect(bench.squiggles).to_have_count(0)
        expect(bench.squiggles.nth(1)).to_be_visible()
    expect(bench.notifications).to_have_count(0)
    bench.picture("came-back")
    _kill_server(example.parent, killed)
    expect(bench.notifications).to_have_count(1)
    expect(bench.notifications).to_contain_text("ended unexpectedly 5 times")
    bench.picture("given-up")
    bench.notifications.get_by_role("button", name="Restart").click()
    expect(bench.squiggles.nth(1)).to_be_visible()
    # The editor repeats an error message on its console.
    assert [each for each in bench.errors if "ended unexpectedly 5 times" not in each] == []


def _kill_server(folder: Path, known: set[int]) -> int:
    """End the language server as a crash would; its process id."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in known:
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            parent = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        # Of this editor alone: others may be at work beside it.
        if "gradtracer_server" in words and f"HOME={folder.parent}" in parent:
            os.kill(int(entry.name), signal.SIGKILL)
            return int(entry.name)
    raise AssertionError("no server runs")
