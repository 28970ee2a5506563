"""What a program sets as PyTorch's default number type or device is not the probe's concern."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from gradtracer_schemas import DiagnosisRaisedEvent, ObservationEvent, ProbeFaultEvent

TRAINING = """
at = dict(device="cpu", dtype=torch.float32)
g = torch.Generator("cpu").manual_seed(0)
class Scores(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(60, 8, sparse=True, **at)
        self.item = nn.Embedding(60, 8, **at)
        self.tower = nn.Sequential(nn.Linear(16, 24, **at), nn.ReLU(), nn.Linear(24, 1, **at))
    def forward(self, u, i):
        return self.tower(torch.cat([self.user(u), self.item(i)], 1)).squeeze(1)
torch.manual_seed(0)
model = Scores()
for p in model.parameters():
    nn.init.normal_(p, std=0.3, generator=g)
sparse = torch.optim.SparseAdam([model.user.weight], lr=0.05)
dense = torch.optim.Adam([p for n, p in model.named_parameters() if n != "user.weight"], lr=0.05)
u, i = torch.randint(60, (2, 200, 32), generator=g, device="cpu")
y = torch.randint(2, (200, 32), generator=g, device="cpu").float()
{defaults}
run = gradtracer.watch(model, track_interval=1, auto_fix=True)
for users, items, labels in zip(u, i, y):
    sparse.zero_grad(), dense.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(model(users, items), labels)
    loss.backward()
    sparse.step(), dense.step()
    run.log(loss=loss, plain=1.0)
run.finish()
"""


@pytest.mark.parametrize(
    "defaults",
    [
        "torch.set_default_dtype(torch.float64)",
        "torch.set_default_dtype(torch.bfloat16)",
        'torch.set_default_device("meta")',
    ],
)
def test_figures_are_the_same_under_other_defaults(script: Any, defaults: str) -> None:
    told = []
    for setting in ("", defaults):
        done = script.run(TRAINING.format(defaults=setting))
        assert done.returncode == 0, done.stderr
        events = script.events()
        assert not [each.body for each in events if isinstance(each, ProbeFaultEvent)]
        last = {e.body.layer: e.body.values for e in events if isinstance(e, ObservationEvent)}
        assert len(last) == 4
        raised = sorted(e.body.type for e in events if isinstance(e, DiagnosisRaisedEvent))
        told.append((last, raised))
        shutil.rmtree(script.run_folders[0])
    (plain, of_plain), (other, of_other) = told
    assert of_other == of_plain
    assert other.keys() == plain.keys()
    for layer, values in plain.items():
        assert other[layer] == pytest.approx(values, rel=1e-4, abs=1e-6), layer
