"""Auto-fix in replicas: it acts in all of them or in none, and they stay equal to the bit."""

from __future__ import annotations

import pytest

from gradtracer_schemas import ControlEvent, InterventionEvent, ProbeFaultEvent
from patience import PATIENCE

BODY = f"""
GIVEN = {PATIENCE / 2}
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

deadline, number = time.monotonic() + GIVEN, 0
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


UNTIL = (
    BODY
    + """
def train_until(done):
    global number
    while True:
        told = torch.tensor([int(done() or time.monotonic() > deadline)])
        dist.all_reduce(told, op=dist.ReduceOp.MIN)
        if told:
            return print(done())
        train(number)
        number += 1

def acting():
    side = tracker._auto_fix.current or tracker._auto_fix._following
    return side is not None and side.scaler.acts

def digest():
    weight = net.module.item_emb.weight.detach()
    print(hashlib.sha256(weight.numpy().tobytes()).hexdigest())
"""
)
LATER = """
while number < 100 * rank:
    train(number)
    number += 1
tracker.set_auto_fix(True, reason="asked")
while number < 100:
    train(number)
    number += 1
train_until(acting)
digest()
"""


def test_replicas_that_turn_it_on_at_different_steps_begin_at_one(ranks) -> None:
    body = UNTIL.replace("OPTIMIZER", "torch.optim.SGD").replace("SPARSE", "False") + LATER
    first, second = ranks.run(body.replace("IDS", "True").replace("AUTO_FIX", "False"), 2)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.split()[0] == "True", first.stderr + second.stderr
    assert first.stdout == second.stdout


LIVE = (
    UNTIL
    + """
import zmq
from gradtracer_schemas import (
    ControlRequest, SetAutoFix, SetTrackInterval, decode_answer, decode_connection, encode_control
)

def ask(body):
    path = current_run().root / ".gradtracer" / "runs" / current_run().id / "connection.json"
    while not path.exists():
        time.sleep(0.01)
    connection = decode_connection(path.read_bytes())
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey = connection.control_key.encode()
    socket.connect(connection.control)
    socket.send_multipart(encode_control(ControlRequest(
        protocol="1.0", run=connection.run, id=f"step-{number}", body=body, sender="test")))
    answer = decode_answer(socket.recv_multipart())
    print(answer.status, answer.reason, file=sys.stderr)
    socket.close()
    context.term()

train(number)
if rank == 0:
    ask(SetAutoFix(enabled=True))
train_until(acting)
digest()
if rank == 0:
    ask(SetAutoFix(enabled=False))
train_until(lambda: not acting())
digest()
if rank == 0:
    ask(SetTrackInterval(interval=7))
train_until(lambda: tracker.track_interval == 7)
"""
)


def test_a_live_request_turns_it_on_and_off_in_all_ranks_and_they_stay_equal(ranks) -> None:
    body = LIVE.replace("OPTIMIZER", "torch.optim.SGD").replace("SPARSE", "False")
    first, second = ranks.run(body.replace("IDS", "True").replace("AUTO_FIX", "False"), 2)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout == second.stdout
    on, _, off, _, paced = first.stdout.split()
    assert (on, off, paced) == ("True", "True", "True"), first.stderr + second.stderr
    assert first.stderr.count("accepted") == 3, first.stderr
    assert "for item_emb from a step on which all ranks agree" in first.stderr
    assert "parted" not in first.stderr + second.stderr
    assert [each.setting for each in ranks.bodies(ControlEvent)] == [
        "auto_fix",
        "auto_fix",
        "track_interval",
    ]
    actions = [each.action for each in ranks.bodies(InterventionEvent)]
    assert "shrink-updates" in actions
    assert actions[-1] == "stop"


FAILING = (
    UNTIL
    + """
def broken(*_, **__):
    raise ValueError("planted")

train_until(acting)
if rank == FAILING:
    FAILURE
GOES_ON
digest()
"""
)
OBSERVATION = "tracker._observer.before_step = broken"
DECISION = "tracker._auto_fix.current.decide = broken"
FOLLOWING = "tracker._auto_fix._following.follow = broken"
STOPS = "train_until(lambda: not acting())"
CONTINUES = """
for _ in range(600):
    train(number)
    number += 1
print(acting())
"""


@pytest.mark.parametrize(
    ("rank", "failure", "goes_on"),
    [
        (0, OBSERVATION, STOPS),
        (0, DECISION, STOPS),
        (1, OBSERVATION, CONTINUES),
        (1, FOLLOWING, CONTINUES),
    ],
    ids=["first, observing", "first, deciding", "other, observing", "other, following"],
)
def test_a_rank_that_fails_does_not_part_from_the_others(
    ranks, rank: int, failure: str, goes_on: str
) -> None:
    body = FAILING.replace("FAILING", str(rank)).replace("FAILURE", failure)
    body = body.replace("GOES_ON", goes_on).replace("OPTIMIZER", "torch.optim.SGD")
    body = body.replace("SPARSE", "False").replace("IDS", "True").replace("AUTO_FIX", "True")
    first, second = ranks.run(body, 2)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.split()[:2] == ["True", "True"], first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert "planted" in (first, second)[rank].stderr
    assert "parted" not in first.stderr + second.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_rank_cannot_scale_any_more_all_stop_and_it_says_so(ranks, rank: int) -> None:
    body = FAILING.replace("FAILING", str(rank))
    body = body.replace("FAILURE", "scaler().before_step = broken").replace("GOES_ON", STOPS)
    body = body.replace("OPTIMIZER", "torch.optim.SGD").replace("SPARSE", "False")
    done = ranks.run(body.replace("IDS", "True").replace("AUTO_FIX", "True"), 2)
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    assert [each.stdout.split()[:2] for each in done] == [["True", "True"]] * 2
    assert "has parted" in done[rank].stderr
    assert "has parted" not in done[1 - rank].stderr
    assert ranks.bodies(InterventionEvent)[-1].action == "stop"
