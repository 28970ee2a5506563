"""Whatever goes wrong in the probe or around it, the training goes on as it would without."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gradtracer_schemas import LayerWatchedEvent, ObservationEvent, ProbeFaultEvent, RunEndedEvent

LOSSES = """
torch.manual_seed(0)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
{watch}
train(net, optimizer, 200)
print(net.item_emb.weight.sum().item().hex())
"""


def test_watching_changes_no_bit_of_the_result(script: Any) -> None:
    watched = script.run(LOSSES.format(watch="gradtracer.watch(net, track_interval=1)"))
    plain = script.run(LOSSES.format(watch=""))
    assert watched.stdout == plain.stdout
    assert watched.stdout


def test_a_model_without_any_layer_is_said_and_costs_nothing(script: Any) -> None:
    done = script.run(
        "run = gradtracer.watch(nn.Sequential(nn.ReLU()))\nprint('trained')\n",
    )
    assert done.stdout == "trained\n"
    assert "Sequential holds no embedding table and no layer with a trainable weight" in done.stderr
    assert script.events()[-1].body.outcome == "finished"


def test_watching_what_is_no_module_says_what_to_pass(script: Any) -> None:
    done = script.run("gradtracer.watch([1])\n")
    assert "NothingToWatch: expected a torch.nn.Module, got list; pass e.g. watch(model" in (
        done.stderr
    )


def test_a_frozen_table_is_counted_and_nothing_else(script: Any) -> None:
    done = script.run(
        "net.item_emb.weight.requires_grad_(False)\n"
        "head = nn.Linear(8, 1)\n"
        "optimizer = torch.optim.SGD(head.parameters(), lr=0.1)\n"
        "gradtracer.watch(net)\n"
        "for _ in range(10):\n"
        "    optimizer.zero_grad()\n"
        "    head(net.item_emb(torch.arange(20))).mean().backward()\n"
        "    optimizer.step()\n"
    )
    assert done.returncode == 0, done.stderr
    events = script.events()
    (watched,) = [e.body for e in events if isinstance(e, LayerWatchedEvent)]
    assert watched.trainable is False
    values = [e.body.values for e in events if isinstance(e, ObservationEvent)][-1]
    assert values["exposures"] == 200
    assert values["seen_rows"] == 20
    assert values["steps"] == 0


def test_an_out_of_range_id_that_the_user_survives_leaves_the_counts_right(script: Any) -> None:
    done = script.run(
        "gradtracer.watch(net, optimizer=optimizer)\n"
        "try:\n"
        "    net(torch.tensor([3, 50]))\n"
        "except IndexError as error:\n"
        "    print(error)\n"
        "train(net, optimizer, 5, batch=4)\n"
    )
    assert done.stdout == "index out of range in self\n"
    values = [e.body.values for e in script.events() if isinstance(e, ObservationEvent)][-1]
    assert values["exposures"] == 20


def test_an_unwritable_folder_costs_one_warning(script: Any) -> None:
    (script.folder / ".gradtracer").write_text("a file where the folder should be")
    done = script.run(
        "gradtracer.watch(net, optimizer=optimizer)\ntrain(net, optimizer, 5)\nprint('trained')\n"
    )
    assert done.returncode == 0
    assert done.stdout == "trained\n"
    assert done.stderr.count("the run leaves no journal") == 1


def test_a_journal_on_a_full_disk_costs_one_warning(script: Any) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    done = script.run(
        "from gradtracer.transport import stream\n"
        "class Full(stream.JournalWriter):\n"
        "    def __init__(self, path):\n"
        "        super().__init__(path)\n"
        "        self._fd = os.open('/dev/full', os.O_WRONLY)\n"
        "stream.JournalWriter = Full\n"
        "gradtracer.watch(net, optimizer=optimizer)\ntrain(net, optimizer, 5)\nprint('trained')\n"
    )
    assert done.stdout == "trained\n"
    assert done.stderr.count("cannot append to the journal") == 1


def test_a_failing_hook_switches_itself_off_and_says_so_in_the_stream(script: Any) -> None:
    done = script.run(
        "from gradtracer.analyzers.table_observer import TableObserver\n"
        "run = gradtracer.watch(net, optimizer=optimizer)\n"
        "train(net, optimizer, 5)\n"
        "TableObserver.before_step = lambda *_: 1 / 0\n"
        "train(net, optimizer, 5)\n"
        "print('trained')\n"
    )
    assert done.stdout == "trained\n"
    assert done.stderr.count("ZeroDivisionError") == 1
    faults = [e.body for e in script.events() if isinstance(e, ProbeFaultEvent)]
    assert [fault.layer for fault in faults] == ["item_emb"]
    assert "ZeroDivisionError" in faults[0].traceback
    assert isinstance(script.events()[-1], RunEndedEvent)


def test_a_failing_report_stops_that_layer_only(script: Any) -> None:
    done = script.run(
        "from gradtracer.analyzers import table_reports\n"
        "run = gradtracer.watch(net, optimizer=optimizer)\n"
        "def broken(*_, **__): raise RuntimeError('broken figure')\n"
        "table_reports.measure = broken\n"
        "train(net, optimizer, 5)\n"
        "print(run.flush())\n"
    )
    assert done.stdout == "True\n", done.stderr
    faults = [e.body for e in script.events() if isinstance(e, ProbeFaultEvent)]
    assert "broken figure" in faults[0].traceback
    assert script.events()[-1].body.outcome == "finished"


def test_the_connection_file_is_the_owners_alone(script: Any) -> None:
    done = script.run(
        "run = gradtracer.watch(net, optimizer=optimizer)\n"
        "run.flush()\n"
        "import glob, shutil\n"
        "shutil.copy2(glob.glob('.gradtracer/runs/*/connection.json')[0], 'kept.json')\n"
    )
    assert done.returncode == 0, done.stderr
    kept = script.folder / "kept.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    connection = json.loads(kept.read_text())
    assert connection["events"].startswith("tcp://127.0.0.1:")
    assert len(connection["server_key"]) == 40


def test_runs_are_kept_out_of_version_control(script: Any) -> None:
    script.run("gradtracer.watch(net)\n")
    assert (script.folder / ".gradtracer" / ".gitignore").read_text() == "*\n"


def test_switched_off_it_writes_nothing(script: Any) -> None:
    done = script.run(
        "run = gradtracer.watch(net, optimizer=optimizer)\n"
        "train(net, optimizer, 5)\n"
        "print(run.step)",
        GRADTRACER_ENABLED="false",
    )
    assert done.stdout == "0\n", done.stderr
    assert not (script.folder / ".gradtracer").exists()


def test_another_rank_observes_and_streams_nothing(script: Any) -> None:
    done = script.run(
        "run = gradtracer.watch(net, optimizer=optimizer)\ntrain(net, optimizer, 5)\n", RANK="1"
    )
    assert done.returncode == 0, done.stderr
    assert not script.run_folders


def test_odd_values_of_a_launchers_variables_are_no_reason_to_stop(script: Any) -> None:
    done = script.run(
        "gradtracer.watch(net, optimizer=optimizer)\nprint('trained')\n",
        WORLD_SIZE="many",
        RANK="first",
    )
    assert done.stdout == "trained\n", done.stderr


def test_steps_are_counted_whatever_they_step_on(script: Any) -> None:
    script.run(
        "net.item_emb.weight.requires_grad_(False)\n"
        "head = nn.Linear(8, 1)\n"
        "first = torch.optim.SGD(head.parameters(), lr=0.1)\n"
        "run = gradtracer.watch(net)\n"
        "for _ in range(7):\n"
        "    head(net.item_emb(torch.arange(20))).mean().backward()\n"
        "    first.step()\n"
        "second = torch.optim.Adam(head.parameters())\n"
        "for _ in range(5):\n"
        "    second.step()\n"
    )
    # The first step of the second phase is what shows that the first is over.
    assert script.events()[-1].step == 11


def test_of_two_optimizers_in_turn_one_is_the_clock(script: Any) -> None:
    script.run(
        "other = torch.optim.Adam(nn.Linear(2, 2).parameters())\n"
        "gradtracer.watch(net, optimizer=optimizer)\n"
        "for _ in range(6):\n"
        "    train(net, optimizer, 1)\n"
        "    other.step()\n"
    )
    assert script.events()[-1].step == 6


def test_a_copied_or_saved_model_is_not_observed(script: Any) -> None:
    done = script.run(
        "import copy, io\n"
        "run = gradtracer.watch(net, optimizer=optimizer)\n"
        "twin = copy.deepcopy(net)\n"
        "buffer = io.BytesIO(); torch.save(net, buffer); buffer.seek(0)\n"
        "loaded = torch.load(buffer, weights_only=False)\n"
        "for other in (twin, loaded):\n"
        "    other(torch.arange(10))\n"
        "train(net, optimizer, 1, batch=4)\n"
    )
    assert done.returncode == 0, done.stderr
    values = [e.body.values for e in script.events() if isinstance(e, ObservationEvent)][-1]
    assert values["exposures"] == 4


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers_leave_the_run_alone(script: Any, method: str) -> None:
    script.write("")
    (script.folder / "rows.py").write_text(
        "import torch\n"
        "class Rows(torch.utils.data.Dataset):\n"
        "    def __init__(self, net): self.net = net\n"
        "    def __len__(self): return 64\n"
        "    def __getitem__(self, i):\n"
        "        self.net(torch.tensor([i % 50]))\n"
        "        return i % 50\n"
    )
    done = script.run(
        "if __name__ == '__main__':\n"
        "    from rows import Rows\n"
        "    gradtracer.watch(net, optimizer=optimizer)\n"
        "    loader = torch.utils.data.DataLoader(Rows(net), batch_size=8, num_workers=2,\n"
        f"        multiprocessing_context='{method}')\n"
        "    for ids in loader:\n"
        "        optimizer.zero_grad(); net(ids).mean().backward(); optimizer.step()\n"
    )
    assert done.returncode == 0, done.stderr
    events = script.events()
    assert [event.seq for event in events] == list(range(len(events)))
    values = [e.body.values for e in events if isinstance(e, ObservationEvent)][-1]
    assert values["exposures"] == 64
    assert events[-1].body.outcome == "finished"
