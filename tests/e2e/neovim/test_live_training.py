"""Three real processes: a training, the language server, and Neovim."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Neovim = Callable[..., dict[str, Any]]
Train = Callable[..., "subprocess.Popen[bytes]"]


@pytest.mark.parametrize(
    ("action", "old", "new"),
    [
        ("Lower weight_decay", "default=1e-4)", "default=1e-5)"),
        ("Reduce embedding_dim", '"--dim", type=int, default=64', '"--dim", type=int, default={}'),
    ],
)
def test_a_live_training_is_diagnosed_hovered_and_fixed_in_neovim(
    example: Path, train: Train, neovim: Neovim, action: str, old: str, new: str
) -> None:
    before = example.read_text(encoding="utf-8")
    assert before.count(old) == 1
    training = train("--slow", "0.002")
    report = neovim(example.parent, example, code="REPRESENTATION_COLLAPSE", action=action)
    assert training.poll() is None, "the training was to be live"
    # Whichever table spoke first.
    assert "_emb = nn.Embedding(num_" in report["line_text"]
    assert "effective rank" in report["message"]
    assert "Live: step" in report["hover"]
    assert "Rows seen" in report["hover"]
    assert report["gone"]
    assert report["notified"] == []
    # The width is what the title said when it was chosen: the rank goes on falling meanwhile.
    (title,) = [title for title in report["titles"] if action in title]
    width = re.search(r" to (\d+):", title)
    new = new.format(width[1] if width is not None else "")
    assert example.read_text(encoding="utf-8") == before.replace(old, new)
