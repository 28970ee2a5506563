"""The callback for the Trainer of Transformers, in real trainings of a model made from a config."""

from __future__ import annotations

import pytest

from gradtracer_schemas import LayerWatchedEvent, ProgressEvent

PYTHON = ("-W", "error")

MODEL = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
import gradtracer
class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return 24
    def __getitem__(self, i):
        ids = torch.arange(i, i + 5) % 60
        return {"input_ids": ids, "labels": ids}
def arguments(**more):
    return TrainingArguments(
        output_dir="out", per_device_train_batch_size=4, num_train_epochs=2, report_to=[],
        save_strategy="no", logging_steps=1, disable_tqdm=True, use_cpu=True, **more,
    )
config = LlamaConfig(
    vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=16,
)
model = LlamaForCausalLM(config)
"""
CALLBACK = "callback = gradtracer.transformers_callback(track_interval=1)\n"
TRAIN = "Trainer(model, arguments({more}), train_dataset=Texts(){callbacks}).train()\n"
WITH = TRAIN.format(more="", callbacks=", callbacks=[callback]")


@pytest.mark.parametrize(("more", "steps"), [("", 12), ("gradient_accumulation_steps=2", 6)])
def test_a_training_is_a_run_with_exact_look_ups_steps_and_metrics(
    script, launch, seen, more: str, steps: int
):
    train = TRAIN.format(more=more, callbacks=", callbacks=[callback]")
    body = MODEL + CALLBACK + train + "print(gradtracer.run.open_run())\n"
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("None\n")
    events = script.events()
    (look_ups, seen_steps, statements) = seen(events)["model.embed_tokens"]
    assert (look_ups, seen_steps) == (2 * 24 * 5, steps)
    assert statements[0].startswith("self.embed_tokens = nn.Embedding(")
    assert statements[-1] == "model = LlamaForCausalLM(config)"
    watched = next(e for e in events if isinstance(e, LayerWatchedEvent)).body
    assert watched.watch.frames[0].text == CALLBACK.strip()
    assert watched.settings == {"auto_fix": False, "track_interval": 1}
    progress = [event.body for event in events if isinstance(event, ProgressEvent)][-1]
    assert (progress.step, progress.total_steps) == (steps, steps)
    assert progress.loss is not None
    assert {"grad_norm", "learning_rate", "epoch"} <= set(progress.metrics)
    assert events[-1].body.outcome == "finished"


def test_a_failed_training_names_the_exception_and_its_line(script, launch):
    fails = (
        "def failing(self, i):\n"
        "    raise ValueError('bad text')  # here\n"
        "Texts.__getitem__ = failing\n"
    )
    done = launch(*PYTHON, "train.py", files={"train.py": MODEL + CALLBACK + fails + WITH})
    assert done.returncode == 1
    ended = script.events()[-1].body
    assert (ended.outcome, ended.reason) == ("failed", "ValueError: bad text")
    assert (ended.failure.file, ended.failure.line) == (
        str(script.path),
        script.line_of("# here"),
    )


def test_training_again_with_the_callback_is_a_run_of_its_own(script, launch):
    body = MODEL + CALLBACK + f"for _ in range(2):\n    {WITH}"
    done = launch(*PYTHON, "train.py", files={"train.py": body})
    assert done.returncode == 0, done.stderr
    assert len(script.run_folders) == 2


@pytest.mark.parametrize("callback", ["", CALLBACK])
def test_the_zero_edit_command_counts_the_same_with_and_without_the_callback(
    script, launch, seen, callback: str
):
    train = WITH if callback else TRAIN.format(more="", callbacks="")
    model = MODEL if callback else MODEL.replace("import gradtracer\n", "")
    body = model + callback + train
    done = launch(*PYTHON, "-m", "gradtracer", "train.py", files={"train.py": body})
    assert done.returncode == 0, done.stderr
    counted = {layer: figures[:2] for layer, figures in seen(script.events()).items()}
    assert counted == {"model.embed_tokens": (240, 12)}
    assert script.events()[-1].body.outcome == "finished"


def test_without_transformers_the_packages_to_install_are_named(launch):
    body = (
        "import sys\n"
        "sys.modules['transformers'] = None\n"
        "import gradtracer\n"
        "try:\n    gradtracer.transformers_callback()\n"
        "except gradtracer.MissingLibrary as error:\n    print(error)\n"
    )
    done = launch("-W", "error", "train.py", files={"train.py": body})
    assert "pip install transformers accelerate" in done.stdout, done.stderr
