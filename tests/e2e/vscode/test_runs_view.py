"""The runs in the activity bar, and the inspector of one of them, with a training that is live."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Frame, expect
from workbench import Workbench

from patience import PATIENCE

Train = Callable[..., "subprocess.Popen[bytes]"]
OpenFolder = Callable[..., Workbench]
LIVE_MS = 1000 * PATIENCE
AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"


def test_runs_are_listed_inspected_compared_and_deleted(
    example: Path, train: Train, open_folder: OpenFolder
) -> None:
    train("--slow", "0.001", "--epochs", "6", "--dim", "16").wait(timeout=PATIENCE)
    training = train("--slow", "0.003", "--epochs", "200")
    bench = open_folder(example.parent)
    bench.open(example.name)
    bench.view("GradTracer")
    tree = bench.tree
    live = tree.filter(has_text="Live: step")
    expect(live).to_have_count(1, timeout=LIVE_MS)
    expect(tree.filter(has_text="finished at step")).to_have_count(1)
    finding = tree.filter(has_text="The table uses few of its dimensions")
    expect(finding.first).to_be_visible(timeout=LIVE_MS)
    bench.picture("runs")

    finding.filter(has_text="item_emb").click()
    expect(bench.status("Ln 38")).to_be_visible()
    tree.filter(has_text="Layers").first.click()
    expect(tree.filter(has_text="Embedding 1,683 × 64").first).to_be_visible()
    bench.picture("layers")

    live.hover()
    live.get_by_role("button", name="Open Inspector").click()
    page = bench.webview()
    expect(page.get_by_role("listbox", name="Layers").get_by_role("option")).to_have_count(2)
    expect(page.locator("figure", has_text="Exposure over rows").locator("canvas")).to_be_visible()
    expect(page.locator("figure", has_text="Effective rank")).to_contain_text("95 %")
    expect(page.locator("figure", has_text="Loss")).to_be_visible(timeout=LIVE_MS)
    bench.picture("inspector")
    page.get_by_role("listbox", name="Layers").focus()
    bench.page.keyboard.press("Home")
    expect(page.get_by_role("heading", level=2)).to_have_text("user_emb")
    bench.page.keyboard.press("ArrowDown")
    expect(page.get_by_role("heading", level=2)).to_have_text("item_emb")
    assert serious(page) == []

    page.get_by_role("button", name="Export PNG").click()
    picture = bench.accept_file_name("-item_emb.png")
    page.get_by_role("button", name="Export JSON").click()
    told = bench.accept_file_name("-item_emb.json")
    bench.wait_until(lambda: picture.exists() and told.exists() and told.stat().st_size)
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert width >= 320 and height > 150
    exported = json.loads(told.read_bytes())
    assert exported["layer"]["layer"] == "item_emb"
    assert "effective_rank" in exported["layer"]["values"]

    bench.menu(live, "Turn Auto-Fix On or Off")
    bench.choose("Turn auto-fix on")
    expect(bench.notifications).to_contain_text("auto-fix is on for")
    bench.picture("auto-fix-on")
    audit = example.parent / ".gradtracer" / "audit.jsonl"
    bench.wait_until(lambda: audit.exists() and b'"control"' in audit.read_bytes())
    bench.command("Notifications: Clear All Notifications")

    assert training.poll() is None, "the training was to be live"
    training.terminate()
    training.wait(timeout=PATIENCE)
    expect(page.get_by_role("status").first).to_contain_text("interrupted at step")
    # Its rows are drawn anew then, under a menu that was opened too early.
    expect(tree.filter(has_text="interrupted at step")).to_have_count(1)
    bench.picture("ended")

    preview = bench.page.locator(".tab.active", has_text="Preview item_emb.md")
    bench.menu(finding.filter(has_text="item_emb"), "Open Report", shows=preview)
    report = bench.preview()
    expect(report.get_by_role("heading", name="item_emb").first).to_be_visible()
    expect(report.locator("body")).to_contain_text("effective rank")
    bench.picture("report")

    over = tree.filter(has_text="finished at step")
    lines = bench.page.locator(".monaco-diff-editor .line-delete")
    bench.menu(over, "Compare Runs", shows=lines)
    bench.picture("compared")
    runs = example.parent / ".gradtracer" / "runs"
    assert len(list(runs.iterdir())) == 2
    bench.menu(over, "Delete Run")
    dialog = bench.page.locator(".monaco-dialog-box")
    expect(dialog).to_contain_text("Its journal is gone for good")
    bench.picture("delete")
    dialog.get_by_role("button", name="Delete").click()
    expect(over).to_have_count(0)
    bench.wait_until(lambda: len(list(runs.iterdir())) == 1)
    assert bench.errors == []


def serious(frame: Frame) -> list[str]:
    """What axe-core finds that keeps people out."""
    frame.evaluate(AXE.read_text(encoding="utf-8"))
    found = frame.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        json.dumps({"id": each["id"], "nodes": [node["html"] for node in each["nodes"]]})
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


def test_agents_find_the_server_in_the_editor_s_own_registry(
    example: Path, train: Train, open_folder: OpenFolder
) -> None:
    bench = open_folder(example.parent, user={"chat.disableAIFeatures": False})
    bench.open(example.name)
    bench.command("MCP: List Servers")
    expect(
        bench.page.locator(".quick-input-list .monaco-list-row", has_text="GradTracer")
    ).to_be_visible()
    bench.picture("mcp")
