"""Auto-fix in replicas: it acts in all of them or in none, and they stay equal to the bit."""

from __future__ import annotations

import pytest

from gradtracer_schemas import InterventionEvent, ProbeFaultEvent

BODY = """
import hashlib
from gradtracer.run import current_run

class Planted(nn.Module):
    def __init__(self):
        super().__init__()
        self.item_emb = nn.Embedding(200, 8, sparse=SPARSE)
    def forward(self, ids, gradient):
        return (self.item_emb(ids) * gradient).sum()

def said_by_the_first(word):
    told = torch.tensor([int(word)])
    dist.broadcast(told, 0)
    return bool(told)

net = DistributedDataParallel(Planted())
optimizer = OPTIMIZER(net.parameters(), lr=0.01)
gradtracer.watch(net, optimizer=optimizer, track_interval=1, auto_fix=AUTO_FIX,
                 report_seconds=0.05, report_share=1.0)
tracker = next(each for each in current_run().trackers if each.name == "item_emb")
ids = torch.arange(200) if rank == 0 or IDS else torch.arange(0)
direction = torch.randn(200, 8)
noise = torch.Generator().manual_seed(rank)

def train(number):
    # Half of the rows are pulled to and fro, the others by noise.
    gradient = torch.randn(200, 8, generator=noise)
    gradient[:60] = direction[:60] * (-1) ** number
    optimizer.zero_grad()
    net(ids, gradient[ids]).backward()
    optimizer.step()

def scaler():
    switch = tracker._auto_fix
    return switch.current.scaler if rank == 0 else switch._following.scaler

deadline, number = time.monotonic() + 150, 0
"""
ACTS = (
    BODY
    + """
acting = 0
while said_by_the_first(acting < 100 and time.monotonic() < deadline):
    train(number)
    number += 1
    acting += scaler().acts
weight = net.module.item_emb.weight
treated = scaler()._levels.rows
print(acting >= 100, hashlib.sha256(weight.detach().numpy().tobytes()).hexdigest(),
      treated.tolist())
current_run().finish()
dist.barrier()
"""
)


@pytest.mark.parametrize(
    ("optimizer", "sparse", "all_have_ids"),
    [
        ("torch.optim.Adam", False, True),
        ("lambda p, lr: torch.optim.SparseAdam(list(p), lr)", True, False),
    ],
)
def test_it_acts_in_all_ranks_from_one_step_on_and_they_stay_equal(
    ranks, optimizer: str, sparse: bool, all_have_ids: bool
) -> None:
    body = ACTS.replace("OPTIMIZER", f"({optimizer})").replace("SPARSE", str(sparse))
    body = body.replace("IDS", str(all_have_ids)).replace("AUTO_FIX", "True")
    first, second = ranks.run(body, 2)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.startswith("True ")
    assert first.stdout == second.stdout
    assert "parted" not in first.stderr + second.stderr
    assert ranks.bodies(ProbeFaultEvent) == []
    told = ranks.bodies(InterventionEvent)[-1]
    assert (told.action, told.rows) == ("shrink-updates", first.stdout.count(",") + 1)


def test_where_one_rank_has_it_off_nothing_is_done_anywhere(ranks) -> None:
    body = (
        BODY
        + """
proposed, after = False, 0
while said_by_the_first(after < 600 and time.monotonic() < deadline):
    train(number)
    number += 1
    proposed = proposed or (rank == 0 and tracker._auto_fix.current._leader._open is not None)
    after += proposed
weight = net.module.item_emb.weight
if rank == 0:
    print(after >= 600, scaler().acts)
else:
    print(tracker.auto_fix)
print(hashlib.sha256(weight.detach().numpy().tobytes()).hexdigest())
"""
    )
    body = body.replace("OPTIMIZER", "torch.optim.SGD").replace("SPARSE", "False")
    body = body.replace("IDS", "True").replace("AUTO_FIX", "(rank == 0)")
    first, second = (done.stdout.split() for done in ranks.run(body, 2))
    assert first[:2] == ["True", "False"]
    assert second[0] == "False"
    assert first[-1] == second[-1]
    assert ranks.bodies(InterventionEvent) == []
