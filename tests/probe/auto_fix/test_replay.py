"""The same seed gives the same run to the bit, whatever else the machine does meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

WORKSPACES = str(Path(__file__).resolve().parents[2] / "workspaces")

TRAINING = """
import gradtracer, random
sys.path.insert(0, {workspaces!r})
from alternating import alternate
torch.manual_seed(0)
table = nn.Embedding(400, 16)
from gradtracer.analyzers.embedding import EmbeddingTracker
tracker = EmbeddingTracker(table, name="item_emb", auto_fix=True)
def wait(step):
    tracker.step(torch.full((400,), 1.0 + step % 7))
    if step % 100 == 0:
        time.sleep({pause} * random.random())
optimizer = torch.optim.Adam(table.parameters(), lr=0.01)
alternate(table, 900, bad=100, optimizer=optimizer, after=wait)
tracker.run.finish()
print(table.weight.detach().double().sum().item().hex(), table.weight[7, 3].item().hex())
"""


def test_the_same_seed_is_the_same_run_to_the_bit(script):
    found: list[str] = []
    for pause, report in ((0.0, "3600"), (0.6, "0.1")):
        body = TRAINING.format(workspaces=WORKSPACES, pause=pause)
        done = script.run(body, GRADTRACER_REPORT_SECONDS=report, GRADTRACER_PUBLISH="false")
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1]
    lines = (script.folder / ".gradtracer" / "audit.jsonl").read_text().splitlines()
    runs: dict[str, list[dict[str, object]]] = {}
    for line in map(json.loads, lines):
        runs.setdefault(line.pop("run_id"), []).append(line | {"timestamp": ""})
    first, second = runs.values()
    assert first == second
    assert first[-1]["treated_rows"]
    assert first[-1]["effects"]


def test_without_auto_fix_it_would_be_another_run(script):
    """The comparison above sees a difference where there is one."""
    body = TRAINING.format(workspaces=WORKSPACES, pause=0.0)
    on = script.run(body, GRADTRACER_PUBLISH="false")
    off = script.run(body.replace("auto_fix=True", "auto_fix=False"), GRADTRACER_PUBLISH="false")
    assert on.stdout != off.stdout
