"""The Lightning callback, in real fits."""

from __future__ import annotations

import signal

import pytest

from gradtracer_schemas import LayerWatchedEvent, ProgressEvent

# Lightning's own use of what PyTorch deprecates, and its advice to machines with many cores
PYTHON = (
    "-W",
    "error",
    "-W",
    "ignore:`isinstance(treespec, LeafSpec)` is deprecated:FutureWarning",
    "-W",
    "ignore:The 'train_dataloader' does not have many workers:UserWarning",
    "-W",
    "ignore:The 'val_dataloader' does not have many workers:UserWarning",
)

MODEL = """
import logging, os, sys, time, warnings
import torch
from torch import nn
import {package} as pl
import gradtracer
logging.getLogger("{logger}").setLevel(logging.ERROR)
class Scorer(pl.LightningModule):
    def __init__(self, rows=50):
        super().__init__()
        self.item_emb = nn.Embedding(rows, 8)
    def training_step(self, batch, index):
        loss = self.item_emb(batch).square().mean()
        self.log("train_loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
class Trainer(pl.Trainer):
    def __init__(self, *callbacks, max_epochs=2, **more):
        super().__init__(
            accelerator="cpu", max_epochs=max_epochs, callbacks=list(callbacks), logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            **more,
        )
batches = torch.utils.data.DataLoader(torch.arange(48), batch_size=16)
"""
LIGHTNING = MODEL.format(package="lightning.pytorch", logger="lightning.pytorch")
PYTORCH_LIGHTNING = MODEL.format(package="pytorch_lightning", logger="pytorch_lightning")
FIT = """
class Validated(Scorer):
    def validation_step(self, batch, index):
        self.log("val_loss", self.item_emb(batch).mean())
callback = gradtracer.lightning_callback(track_interval=1)
model = Validated()
Trainer(callback).fit(model, batches, batches)
print(gradtracer.run.open_run())
"""


@pytest.mark.parametrize("prelude", [LIGHTNING, PYTORCH_LIGHTNING])
def test_a_fit_is_a_run_with_exact_look_ups_steps_and_metrics(script, launch, seen, prelude):
    done = launch(*PYTHON, "train.py", files={"train.py": prelude + FIT})
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    events = script.events()
    assert seen(events) == {
        "item_emb": (96, 6, ["self.item_emb = nn.Embedding(rows, 8)", "model = Validated()"])
    }
    watched = next(e for e in events if isinstance(e, LayerWatchedEvent)).body
    assert watched.watch.frames[0].text.startswith("callback = gradtracer.lightning_callback(")
    assert watched.settings == {"auto_fix": False, "track_interval": 1}
    progress = [event.body for event in events if isinstance(event, ProgressEvent)][-1]
    assert (progress.step, progress.total_steps) == (6, 6)
    assert progress.loss is not None
    assert {"train_loss", "val_loss"} <= set(progress.metrics)
    assert events[-1].body.outcome == "finished"


def test_accumulated_batches_and_endless_data(script, launch, seen):
    body = LIGHTNING + (
        "class Stream(torch.utils.data.IterableDataset):\n"
        "    def __iter__(self):\n"
        "        return iter(torch.arange(64).remainder(50))\n"
        "from gradtracer.callbacks.lightning import GradTracerCallback\n"
        "stream = torch.utils.data.DataLoader(Stream(), batch_size=16)\n"
        "Trainer(GradTracerCallback(), accumulate_grad_batches=2).fit(Scorer(), stream)\n"
    )
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert done.returncode == 0, done.stderr
    assert seen(script.events())["item_emb"][:2] == (128, 4)
    progress = [e.body for e in script.events() if isinstance(e, ProgressEvent)][-1]
    assert progress.total_steps is None


FAILING = """
class Failing(Scorer):
    def training_step(self, batch, index):
        if self.global_step == 2:
            raise {error}  # here
        return super().training_step(batch, index)
try:
    Trainer(gradtracer.lightning_callback()).fit(Failing(), batches)
except BaseException as error:
    print("caught", type(error).__name__)
"""


def test_a_failed_fit_names_the_exception_and_its_line_though_it_is_caught(script, launch):
    body = LIGHTNING + FAILING.format(error="ValueError('bad batch')")
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert (done.returncode, done.stdout) == (0, "caught ValueError\n"), done.stderr
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == ("failed", "ValueError: bad batch")
    assert (ended.failure.file, ended.failure.line) == (
        str(script.path),
        script.line_of("# here"),
    )


def test_an_interrupted_fit_is_a_run_that_was_interrupted(script, launch):
    body = LIGHTNING + FAILING.format(error="KeyboardInterrupt")
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert "caught SystemExit" in done.stdout, done.stderr
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == ("interrupted", "KeyboardInterrupt")


ENDLESS = """
class Slow(Scorer):
    def on_train_batch_end(self, outputs, batch, index):
        open("batches", "a").write(".")
    def on_exception(self, error):
        open("stopped", "w").write(type(error).__name__)
model = Slow()
{watch}
Trainer({callback}max_epochs=-1).fit(model, batches)
"""


@pytest.mark.parametrize(
    ("watch", "callback"),
    [
        ("", "gradtracer.lightning_callback(report_seconds=0.1), "),
        ("gradtracer.watch(model, report_seconds=0.1)", ""),
    ],
)
def test_sigterm_still_lets_lightning_stop_in_good_order(
    script, start, terminate, watch: str, callback: str
):
    stop = (
        "class Stop(pl.Callback):\n"
        "    def on_exception(self, trainer, model, error):\n"
        "        open('stopped', 'w').write(type(error).__name__)\n"
    )
    body = LIGHTNING + stop + ENDLESS.format(watch=watch, callback=callback + "Stop(), ")
    process = start(*PYTHON, "train.py", files={"train.py": body})
    script.wait_for(process, lambda: script.journal_holds(b'"observation"'))
    code = terminate(process, signal.SIGTERM)
    assert (script.folder / "stopped").read_text() == "SIGTERMException"
    ended = script.events()[-1].body
    assert ended.outcome == "interrupted"
    assert "SIGTERM" in ended.reason
    assert code in (0, -signal.SIGTERM, 143)


def test_a_run_that_the_script_began_is_joined_and_left_open(script, launch, seen):
    body = LIGHTNING + (
        "model = Scorer()\n"
        "run = gradtracer.watch(model)\n"
        "Trainer(gradtracer.lightning_callback()).fit(model, batches)\n"
        "print(run.outcome)\n"
    )
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    counted = {layer: figures[:2] for layer, figures in seen(script.events()).items()}
    assert counted == {"item_emb": (96, 6)}


def test_each_fit_is_a_run_of_its_own_and_the_callback_can_be_copied(script, launch):
    body = LIGHTNING + (
        "import copy, pickle\n"
        "callback = gradtracer.lightning_callback()\n"
        "class Copies(pl.Callback):\n"
        "    def on_train_epoch_end(self, trainer, model):\n"
        "        copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))\n"
        "for _ in range(2):\n"
        "    Trainer(callback, Copies()).fit(Scorer(), batches)\n"
    )
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert done.returncode == 0, done.stderr
    assert len(script.run_folders) == 2


def test_the_callback_under_the_zero_edit_command_is_the_only_observer(script, launch, seen):
    done = launch(*PYTHON, "-m", "gradtracer", "train.py", files={"train.py": LIGHTNING + FIT})
    assert done.returncode == 0, done.stderr
    assert seen(script.events())["item_emb"][:2] == (96, 6)


def test_a_fit_without_the_callback_is_observed_by_the_zero_edit_command(script, launch, seen):
    body = LIGHTNING.replace("import gradtracer\n", "") + "Trainer().fit(Scorer(), batches)\n"
    done = launch(*PYTHON, "-m", "gradtracer", "train.py", files={"train.py": body})
    assert done.returncode == 0, done.stderr
    assert seen(script.events())["item_emb"][:2] == (96, 6)
    assert script.events()[-1].body.outcome == "finished"


def test_what_goes_wrong_in_the_callback_stays_there(script, launch):
    body = LIGHTNING + (
        "import gradtracer.callbacks.fit as fit\n"
        "def refuse(*_, **__): raise OSError('no room')\n"
        "fit.observe = refuse\n"
    )
    done = launch(*PYTHON, "train.py", files={"train.py": body + FIT.replace("print", "repr")})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("OSError: no room") == 1
    assert "switched itself off; training goes on" in done.stderr


def test_without_lightning_the_package_to_install_is_named(launch):
    body = (
        "import sys\n"
        "sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None\n"
        "import gradtracer\n"
        "try:\n    gradtracer.lightning_callback()\n"
        "except gradtracer.MissingLibrary as error:\n    print(error)\n"
    )
    done = launch("-W", "error", "train.py", files={"train.py": body})
    assert "pip install lightning" in done.stdout, done.stderr


def test_a_setting_that_does_not_exist_is_refused_where_the_callback_is_made(launch):
    body = LIGHTNING + "gradtracer.lightning_callback(track_intervall=3)\n"
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert done.returncode == 1
    assert "unknown setting 'track_intervall'" in done.stderr
