"""The original's joint compression of one of our models, in the original's environment.

python side_recipe.py EXAMPLES MODEL WEIGHTS: prints one line of JSON, its sizes on disk.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

import torch

from gradtracer import CompressionTracker, FlowTracker

sys.path.insert(0, sys.argv[1])

import recommenders


def size(model: torch.nn.Module) -> int:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.tell()


task = recommenders.load_task()
setting = recommenders.TUNED[sys.argv[2]]
model = setting.build(task)
model.load_state_dict(torch.load(sys.argv[3], weights_only=True))
before = {"bytes_before": size(model), "before": float(recommenders.test(model, task).mean())}
with contextlib.redirect_stdout(io.StringIO()):
    tracker = FlowTracker(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    for batch in recommenders.batches(model, task, setting.batch)[:20]:
        optimizer.zero_grad()
        model.loss(task, batch).backward()
        tracker.step()
    model.load_state_dict(torch.load(sys.argv[3], weights_only=True))
    model.eval()
    joint = CompressionTracker(model, tracker=tracker)
    changed = joint.apply_joint_compression(target_sparsity=0.8)
after = {"bytes_after": size(changed), "after": float(recommenders.test(changed, task).mean())}
print(json.dumps({**before, **after}))
