"""A script run by `python -m gradtracer` is observed, and cannot tell that it is."""

from __future__ import annotations

import signal

import pytest

from gradtracer_schemas import LayerWatchedEvent, RunStartedEvent

MODEL = """
import sys
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, rows=50):
        super().__init__()
        self.item_emb = nn.Embedding(rows, 8)
    def forward(self, ids):
        return self.item_emb(ids).sum(-1)
def train(net, optimizer, steps, micro=1):
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(micro):
            net(torch.arange(16)).square().mean().backward()
        optimizer.step()
"""
TRAIN = (
    MODEL
    + """
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
train(net, optimizer, 5)
"""
)
RUNNER = ("-W", "error", "-m", "gradtracer")


def test_every_look_up_is_counted_from_the_first_one_on(script, launch, seen):
    done = launch(*RUNNER, "train.py", "--lr", "1", files={"train.py": TRAIN})
    assert (done.returncode, done.stderr) == (0, "")
    events = script.events()
    assert isinstance(events[0], RunStartedEvent)
    assert events[0].body.script == str(script.path)
    assert events[0].body.root == str(script.folder)
    assert events[0].body.argv == ["--lr", "1"]
    assert seen(events) == {
        "item_emb": (80, 5, ["self.item_emb = nn.Embedding(rows, 8)", "net = Net()"])
    }
    assert events[-1].body.outcome == "finished"


def test_what_precedes_the_first_step_is_counted_as_always(script, launch, seen):
    body = """
    net = Net()
    net(torch.arange(16))
    with torch.no_grad():
        net(torch.arange(16))
    net.eval()(torch.arange(16))
    train(net.train(), torch.optim.SGD(net.parameters(), lr=0.1), 2, micro=3)
    """
    launch(*RUNNER, "train.py", files={"train.py": MODEL + "if True:" + body})
    by_hand = "    import gradtracer\n    gradtracer.watch(net)\n"
    assert seen(script.events())["item_emb"][:2] == (16 * (1 + 2 * 3), 2)
    for path in script.run_folders[0].iterdir():
        path.unlink()
    script.run_folders[0].rmdir()
    watched = body.replace("    net = Net()\n", "    net = Net()\n" + by_hand, 1)
    done = launch(
        "train.py", files={"train.py": "import gradtracer\n" + MODEL + "if True:" + watched}
    )
    assert done.returncode == 0, done.stderr
    assert seen(script.events())["item_emb"][:2] == (16 * (1 + 2 * 3), 2)


IDENTITY = """
import os, pickle, sys
import neighbour
class Thing: pass
print(sys.argv, __name__, __file__, __package__, __doc__, sys.path[0])
print(sorted(name for name in globals() if name not in ("neighbour", "os", "sys", "pickle")))
print(sys.modules["__main__"].__dict__ is globals(), type(pickle.loads(pickle.dumps(Thing()))))
print(__spec__ and (__spec__.name, __spec__.parent))
print(__loader__.get_source(__spec__.name if __spec__ else "__main__")[:7])
print(os.path.basename(sys._getframe().f_code.co_filename))
"""


@pytest.mark.parametrize(
    "words", [["there/train.py", "--x", "-m"], ["-m", "there.train", "-h"], ["-m", "there"]]
)
def test_a_script_sees_what_it_sees_under_python(launch, words: list[str]):
    files = {
        "there/neighbour.py": "",
        "neighbour.py": "",
        "there/__init__.py": "",
        "there/train.py": IDENTITY,
        "there/__main__.py": IDENTITY,
    }
    plain = launch("-W", "error", *words, files=files)
    ours = launch(*RUNNER, *words)
    assert plain.returncode == 0, plain.stderr
    assert (ours.returncode, ours.stdout) == (0, plain.stdout)


FAILURES = {
    "an exception": "def deep():\n    raise ValueError('bad batch')  # here\ndeep()",
    "a chain": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e",
    "a syntax error": "x = (1,\n",
    "an exit code": "import sys; sys.exit(7)",
    "an exit message": "raise SystemExit('no data')",
    "an exception group": "raise ExceptionGroup('many', [ValueError('a'), TypeError('b')])",
    "an own excepthook": (
        "import sys, traceback\n"
        "sys.excepthook = lambda *error: print('mine', traceback.format_exception(*error)[1:])\n"
        "raise ValueError('bad')"
    ),
}


LEFT_OUT = ("gradtracer: nothing was observed", '  File "<frozen runpy>"')


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *[(name, ["train.py"]) for name in FAILURES],
        ("an exception", ["-m", "train"]),
        ("a syntax error", ["-m", "train"]),
    ],
)
def test_a_script_ends_as_under_python(launch, name: str, words: list[str]):
    plain = launch(*words, files={"train.py": FAILURES[name]})
    ours = launch("-m", "gradtracer", *words)
    # Python shows its own frames for -m; we show neither those nor ours.
    shown, expected = (
        [line for line in text.splitlines() if not line.startswith(LEFT_OUT)]
        for text in (ours.stderr, plain.stderr)
    )
    assert (ours.returncode, ours.stdout, shown) == (plain.returncode, plain.stdout, expected)
    assert plain.returncode != 0


def test_a_failed_script_names_the_exception_and_its_line(script, launch):
    body = TRAIN + "raise ValueError('bad batch')  # here\n"
    done = launch("-m", "gradtracer", "train.py", files={"train.py": body})
    assert done.returncode == 1
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == ("failed", "ValueError: bad batch")
    assert ended.failure.file == str(script.path)
    assert ended.failure.line == script.line_of("# here")


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "KeyboardInterrupt")]
)
def test_a_signal_ends_the_run_as_interrupted(script, start, terminate, number, reason):
    process = start(
        "-m",
        "gradtracer",
        "train.py",
        files={"train.py": TRAIN + "while True: train(net, optimizer, 9)"},
    )
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    assert terminate(process, number) == -number
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == ("interrupted", reason)


@pytest.mark.parametrize("words", [["train.py"], ["-m", "train"]])
def test_spawned_processes_find_the_scripts_functions(script, launch, words: list[str]):
    body = """
    import multiprocessing
    def square(x):
        return x * x
    if __name__ == "__main__":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(square, [1, 2, 3]))
    """
    done = launch(*RUNNER, *words, files={"train.py": body})
    assert done.stdout == "[1, 4, 9]\n", done.stderr
    assert done.stderr.count("nothing was observed") == 1


def test_workers_of_a_data_loader_observe_nothing(script, launch, seen):
    body = """
    class Ids(torch.utils.data.Dataset):
        def __len__(self):
            return 32
        def __getitem__(self, i):
            return i
    if __name__ == "__main__":
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for context in ("fork", "spawn"):
            more = {"num_workers": 1, "multiprocessing_context": context}
            for ids in torch.utils.data.DataLoader(Ids(), 16, **more):
                net(ids).sum().backward()
                optimizer.step()
    """
    done = launch(*RUNNER, "train.py", files={"train.py": MODEL + "if True:" + body})
    assert (done.returncode, done.stderr) == (0, "")
    assert seen(script.events())["item_emb"][:2] == (64, 4)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('hello')", "the script imported no torch, and trained no booster"),
        (
            "import catboost\nprint('hello')",
            "the script imported no torch, and trained no booster; catboost.cv tells nobody of its "
            "rounds, a fit with an eval_set does",
        ),
        ("import torch\nprint('hello')", "no torch optimizer took a step in this process"),
    ],
)
def test_a_script_without_training_ends_normally_and_says_that_nothing_was_observed(
    launch, tmp_path, body: str, reason: str
):
    done = launch(*RUNNER, "train.py", files={"train.py": body})
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert done.stderr == f"gradtracer: nothing was observed: {reason}\n"
    assert not (tmp_path / ".gradtracer").exists()


WATCHES = "import gradtracer\ngradtracer.watch(net, report_seconds=9)\n"


@pytest.mark.parametrize("tracker", [False, True])
def test_a_script_that_observes_itself_is_not_observed_twice(script, launch, seen, tracker):
    call = (
        "from gradtracer.analyzers.embedding import EmbeddingTracker\n"
        "tracker = EmbeddingTracker(net.item_emb)\n"
        if tracker
        else WATCHES
    )
    body = (
        MODEL
        + "net = Net()\n"
        + call
        + (
            "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
            "train(net, optimizer, 3)\n"
            "other = Net()\n"
            "train(other, torch.optim.SGD(other.parameters(), lr=0.1), 3)\n"
        )
    )
    done = launch(*RUNNER, "train.py", files={"train.py": body})
    assert (done.returncode, done.stderr) == (0, "")
    events = script.events()
    assert {layer: counted[:2] for layer, counted in seen(events).items()} == {"item_emb": (48, 3)}
    # The call is looked for in the script, and the frames of ours are not among its frames.
    (frame,) = next(e for e in events if isinstance(e, LayerWatchedEvent)).body.watch.frames
    assert frame.file == str(script.path)


def test_a_script_that_begins_to_observe_itself_later_takes_over(script, launch, seen):
    body = TRAIN + WATCHES + "train(net, optimizer, 2)\n"
    done = launch(*RUNNER, "train.py", files={"train.py": body})
    assert (done.returncode, done.stderr) == (0, "")
    assert len(script.run_folders) == 2
    reasons = [
        (folder / "events.jsonl").read_text().splitlines()[-1] for folder in script.run_folders
    ]
    assert sum("the script calls GradTracer itself" in reason for reason in reasons) == 1


def test_models_that_train_together_share_a_run_and_a_later_model_has_its_own(script, launch, seen):
    body = """
    def fold(number):
        user, item = Net(20 + number), nn.ModuleDict({"table": Net(30)})
        for _ in range(3):
            (user(torch.arange(4)) + item["table"](torch.arange(4))).sum().backward()
            for optimizer in optimizers(number, user, item):
                optimizer.step()
    made = {}
    def optimizers(number, *nets):
        if number not in made:
            made.clear()
            made[number] = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
        return made[number]
    for number in range(2):
        fold(number)
    """
    done = launch(*RUNNER, "train.py", files={"train.py": MODEL + "if True:" + body})
    assert (done.returncode, done.stderr) == (0, "")
    assert len(script.run_folders) == 2
    for folder in script.run_folders:
        journal = (folder / "events.jsonl").read_text()
        assert '"layer":"item_emb"' in journal
        assert '"layer":"table.item_emb"' in journal
        assert "item_emb_2" not in journal


def test_a_wrapped_and_compiled_model_keeps_its_layers_names_and_its_look_ups(script, launch, seen):
    body = """
    net = torch.compile(Net(), backend="eager", fullgraph=True)
    train(net, torch.optim.SGD(net.parameters(), lr=0.1), 4)
    """
    done = launch("-m", "gradtracer", "train.py", files={"train.py": MODEL + "if True:" + body})
    assert (done.returncode, done.stderr) == (0, "")
    assert {layer: counted[:2] for layer, counted in seen(script.events()).items()} == {
        "item_emb": (64, 4)
    }


def test_a_copied_model_is_found(script, launch, seen):
    body = """
    import copy
    net = copy.deepcopy(Net())
    train(net, torch.optim.SGD(net.parameters(), lr=0.1), 4)
    """
    done = launch(*RUNNER, "train.py", files={"train.py": MODEL + "if True:" + body})
    assert (done.returncode, done.stderr) == (0, "")
    assert seen(script.events())["item_emb"][:2] == (64, 4)


def test_options_before_the_script_are_ours(script, launch):
    done = launch(
        *RUNNER, "--track-interval=3", "--auto-fix", "train.py", files={"train.py": TRAIN}
    )
    assert done.returncode == 0, done.stderr
    watched = next(e for e in script.events() if isinstance(e, LayerWatchedEvent)).body
    assert watched.settings == {"auto_fix": True, "track_interval": 3}


def test_a_run_that_cannot_begin_does_not_touch_the_training(launch):
    broken = (
        "import torch, gradtracer.automatic as a\ndef refuse(*_, **__): raise OSError('no room')\n"
        "a.begin_run = refuse\n"
    )
    done = launch(*RUNNER, "train.py", files={"train.py": broken + TRAIN + "print('trained')"})
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert "GradTracer cannot observe this model; training is not affected" in done.stderr
    assert "OSError: no room" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "expected a script to run, e.g. python -m gradtracer train.py"),
        (["--auto-fx", "train.py"], "unknown option --auto-fx; did you mean --auto-fix?"),
        (["none.py"], "expected a Python script, found no file 'none.py'"),
        (["-m", "nowhere.at_all"], "no module named 'nowhere.at_all'"),
        (["-m", "sys"], "expected a module with a file, found none named 'sys'"),
    ],
)
def test_what_cannot_be_run_is_said(launch, words: list[str], told: str):
    done = launch(*RUNNER, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"python -m gradtracer: {told}")
    assert done.stderr.endswith("Try python -m gradtracer --help\n")


def test_a_setting_that_does_not_fit_is_said_before_the_script_starts(launch):
    files = {"train.py": "print('ran')", "pyproject.toml": "[tool.gradtracer]\nseeed = 1\n"}
    done = launch(*RUNNER, "train.py", files=files)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown setting 'seeed' ([tool.gradtracer] in pyproject.toml)" in done.stderr
    assert "the nearest valid one is 'seed'" in done.stderr


def test_running_a_script_loads_only_what_it_loads(launch):
    body = "import sys\nprint({'torch', 'scipy', 'gradtracer.automatic'} & set(sys.modules))"
    assert launch(*RUNNER, "train.py", files={"train.py": body}).stdout == "set()\n"
