"""Several ranks count what one process would have counted, and none waits for another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradtracer.statistics.gini import gini
from gradtracer_schemas import (
    ProbeFaultEvent,
    RunEndedEvent,
    RunStartedEvent,
)

ROWS, LOOK_UPS = 400, 1_001
ZIPF = f"""
g = torch.Generator().manual_seed(1)
law = 1.0 / torch.arange(1, {ROWS} + 1).double()
ids = torch.multinomial(law, {LOOK_UPS}, replacement=True, generator=g)
"""
SAMPLED = f"""{ZIPF}
from torch.utils.data import DataLoader, DistributedSampler
net = DistributedDataParallel(Net())
optimizer = torch.optim.Adam(net.parameters())
run = gradtracer.watch(net, optimizer=optimizer, track_interval=5)
for epoch in range(2):
    sampler = DistributedSampler(ids, shuffle=True, seed=3)
    sampler.set_epoch(epoch)
    for batch in DataLoader(ids, batch_size=16, sampler=sampler):
        step(net, optimizer, batch)
dist.destroy_process_group()
"""


def truth(world_size: int) -> np.ndarray:
    """What `SAMPLED` looks up: the sampler repeats the first ids so that all ranks get as many."""
    names: dict[str, torch.Tensor] = {}
    exec(f"import torch\n{ZIPF}", names)
    counts = np.zeros(ROWS, dtype=np.int64)
    for epoch in range(2):
        g = torch.Generator().manual_seed(3 + epoch)
        order = torch.randperm(LOOK_UPS, generator=g)
        missing = -LOOK_UPS % world_size
        order = torch.cat([order, order[:missing]])
        counts += np.bincount(names["ids"][order].numpy(), minlength=ROWS)
    return counts


@pytest.mark.parametrize(("launcher", "world_size"), [("torchrun", 2), ("processes", 4)])
def test_ranks_under_a_distributed_sampler_count_what_one_process_would(
    ranks, launcher: str, world_size: int
) -> None:
    if launcher == "torchrun":
        done = [ranks.torchrun(SAMPLED, world_size)]
    else:
        done = ranks.run(SAMPLED, world_size)
    assert [process.returncode for process in done] == [0] * len(done), done[0].stderr
    counts = truth(world_size)
    found = ranks.last()
    assert found.values["exposures"] == counts.sum()
    assert found.values["seen_rows"] == (counts > 0).sum()
    assert found.values["coverage"] == pytest.approx((counts > 0).mean())
    assert found.values["gini"] == gini(counts).value
    assert found.curves["lorenz"][-1] == 1.0
    assert ranks.bodies(RunStartedEvent)[0].world_size == world_size
    assert ranks.watched().site.frames[0].text.startswith("self.item_emb = nn.Embedding(")
    assert ranks.bodies(ProbeFaultEvent) == []
    assert ranks.bodies(RunEndedEvent)[0].outcome == "finished"


def test_the_first_rank_asked_in_the_loop_knows_what_all_counted_so_far(ranks) -> None:
    body = """
    net = DistributedDataParallel(Net())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    gradtracer.watch(net, optimizer=optimizer, report_seconds=3600)
    tracker = next(t for t in gradtracer.run.current_run().trackers if t.name == "item_emb")
    for number in range(5):
        step(net, optimizer, torch.arange(10 * rank, 10 * rank + 10))
    dist.barrier()
    if rank == 0:
        print(tracker.figures().counts[:30].tolist(), len(tracker.dead_embeddings()))
    dist.barrier()
    """
    first, *others = ranks.run(body, 3)
    assert [done.returncode for done in (first, *others)] == [0, 0, 0], first.stderr
    assert first.stdout == f"{[5] * 30} 370\n"


def test_ranks_without_ids_and_with_other_tables_never_wait_for_each_other(ranks) -> None:
    body = """
    net = DistributedDataParallel(Net(), find_unused_parameters=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    gradtracer.watch(net, optimizer=optimizer, track_interval=1)
    for number in range(40):
        size = 0 if (number + rank) % 3 == 0 else 4
        step(net, optimizer, torch.arange(size) + 4 * rank)
    """
    for done in ranks.run(body, 2):
        assert done.returncode == 0, done.stderr
    values = ranks.last().values
    assert values["exposures"] == 4 * (26 + 27)
    assert values["seen_rows"] == 8


def test_a_rank_that_dies_stops_nobody_and_what_it_said_goes_on_counting(ranks) -> None:
    body = """
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    run = gradtracer.watch(net, optimizer=optimizer, report_seconds=0.05, report_share=1.0)
    for number in range(20):
        step(net, optimizer, torch.arange(5) + 5 * rank)
    if rank == 1:
        open("trained", "w").close()
        while not os.path.exists("heard"):
            time.sleep(0.01)
        os._exit(9)
    while not os.path.exists("trained"):
        time.sleep(0.01)
    assert run.flush()
    open("heard", "w").close()
    for number in range(20):
        step(net, optimizer, torch.arange(5))
    run.finish()
    print("ended")
    """
    first, second = ranks.run(body, 2)
    assert (first.returncode, second.returncode) == (0, 9), first.stderr
    assert first.stdout == "ended\n"
    assert "rank 1 does not answer" in first.stderr
    values = ranks.last().values
    assert values["exposures"] == 5 * (40 + 20)
    assert ranks.bodies(RunEndedEvent)[0].outcome == "finished"


def test_the_weights_are_those_of_a_training_alone_before_auto_fix_begins(ranks) -> None:
    body = """
    net = DistributedDataParallel(Net())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    WATCH
    for number in range(30):
        step(net, optimizer, torch.arange(20) + 7 * rank)
    print(net.module.item_emb.weight.sum().item().hex())
    """
    watch = "gradtracer.watch(net, optimizer=optimizer, track_interval=1, auto_fix=True)"
    watched = ranks.run(body.replace("WATCH", watch), 2)
    assert ranks.watched().settings["auto_fix"] is True
    (ranks.folder / "store").unlink(missing_ok=True)
    plain = ranks.run(body.replace("WATCH", ""), 2)
    assert {done.stdout for done in watched} == {done.stdout for done in plain}
    assert len({done.stdout for done in plain}) == 1
    assert plain[0].stdout


def test_a_row_that_other_ranks_examples_move_does_not_drift(ranks) -> None:
    body = """
    net = DistributedDataParallel(Net())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    gradtracer.watch(net, optimizer=optimizer, track_interval=1)
    for number in range(300):
        step(net, optimizer, torch.randint(400, (16,)))
    """
    for done in ranks.run("torch.manual_seed(rank)\n" + body.replace("\n    ", "\n"), 2):
        assert done.returncode == 0, done.stderr
    assert ranks.last().values["drift_share"] == 0.0


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_training_of_any_number_of_ranks_resumes_from_the_first_ones_state(
    ranks, world_size: int
) -> None:
    body = """
    net = DistributedDataParallel(Net())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    gradtracer.watch(net, optimizer=optimizer, report_seconds=3600)
    tracker = next(t for t in gradtracer.run.current_run().trackers if t.name == "item_emb")
    for number in range(5):
        step(net, optimizer, torch.arange(10 * rank, 10 * rank + 10))
    dist.barrier()
    if rank == 0:
        torch.save(tracker.state_dict(), "tracker.pt")
    dist.barrier()
    """
    for done in ranks.run(body, 3):
        assert done.returncode == 0, done.stderr
    (ranks.folder / "store").unlink(missing_ok=True)
    body = """
    net = Net() if world == 1 else DistributedDataParallel(Net())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    gradtracer.watch(net, optimizer=optimizer, report_seconds=3600)
    tracker = next(t for t in gradtracer.run.current_run().trackers if t.name == "item_emb")
    tracker.load_state_dict(torch.load("tracker.pt", weights_only=True))
    for number in range(2):
        step(net, optimizer, torch.arange(20 * rank, 20 * rank + 20))
    dist.barrier()
    if rank == 0:
        print(tracker.steps, tracker.figures().counts[:41].tolist())
    dist.barrier()
    """
    first, *others = ranks.run(body, world_size)
    assert [done.returncode for done in (first, *others)] == [0] * world_size, first.stderr
    rows = [7] * 20 + [5 + 2 * (world_size > 1)] * 10 + [2 * (world_size > 1)] * 10 + [0]
    assert first.stdout == f"7 {rows}\n"
