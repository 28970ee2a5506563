"""No sequence of edits brings a recorded statement to a line that is not its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from edit_scripts import MARK, Script, followed, judge, place
from hypothesis import given, settings
from hypothesis import strategies as st

from gradtracer_server.source.documents import Documents
from gradtracer_server.source.index import SourceText

PATH = Path("/nowhere/model.py")
SOURCE = """\
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.table = nn.Embedding(config.rows, config.dim)
        self.linear = nn.Linear(
            config.dim,
            config.dim,
        )
        if config.norm:
            self.norm = nn.LayerNorm(config.dim)
        else:
            self.norm = nn.Identity()
        self.query = nn.Linear(config.dim, config.dim)
        self.key = nn.Linear(config.dim, config.dim)

    def late(self, x):
        x = nn.ReLU()(x)
        return x


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.table = nn.Embedding(config.rows, config.dim)
        self.query = nn.Linear(config.dim, config.dim)

        def head(n):
            layer = nn.Linear(config.dim, n)
            return layer

        self.head = nn.ModuleList([nn.Linear(config.dim, n) for n in range(3)])

    def late(self, x):
        x = nn.ReLU()(x)
        return x


def build(config):
    tower = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    return tower
"""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_an_edited_statement_is_in_its_place_or_outdated_or_gone(seed: int, edits: int) -> None:
    script = Script.begin(str(PATH), SOURCE, seed)
    documents = Documents()
    documents.open(PATH, SOURCE, 1)
    for version in range(edits):
        script.edit()
        documents.apply(PATH, [(None, script.text)], version + 2)
    truth = script.truth()
    source = documents.get(PATH)
    assert source is not None and source.text == script.text
    for number, frame in enumerate(script.frames):
        near = documents.current_line(PATH, frame.start_line - 1)
        known = documents.known_scopes(PATH)
        for text, line, scopes in (
            (source, near, known),
            (SourceText.parse(source.text), None, None),
        ):
            anchor = place(frame, text, line, script.frames, scopes)
            verdict = judge(script, anchor, truth.get(number))
            assert verdict != "wrong", (frame.text, script.done, anchor, truth.get(number))


def test_the_truth_of_a_script_can_tell_a_wrong_place() -> None:
    script = Script.begin(str(PATH), SOURCE, 0)
    assert len(script.frames) == len(followed(str(PATH), SOURCE)) == 13
    assert MARK.sub("", script.marked) == SOURCE
    truth = script.truth()
    source = SourceText.parse(SOURCE)
    anchors = [place(frame, source, None, script.frames) for frame in script.frames]
    below = {number: (line + 1, same) for number, (line, same) in truth.items()}

    def verdicts(truth: dict[int, tuple[int, bool]]) -> set[str]:
        return {judge(script, a, truth.get(n)) for n, a in enumerate(anchors)}

    assert (verdicts(truth), verdicts(below), verdicts({})) == ({"right"}, {"wrong"}, {"wrong"})


def changed(old: str, new: str) -> tuple[str, int | None]:
    """State and line, from 1, of the encoder's statement after an edit."""
    frames = followed(str(PATH), SOURCE)
    frame = next(each for each in frames if old.strip() in each.text or each.text in old)
    assert old in SOURCE
    anchor = place(frame, SourceText.parse(SOURCE.replace(old, new, 1)), None, frames)
    return anchor.state, None if anchor.range is None else anchor.range.start.line + 1


TABLE = "        self.table = nn.Embedding(config.rows, config.dim)\n"


@pytest.mark.parametrize(
    ("old", "new", "answer"),
    [
        pytest.param(TABLE, "\n" + TABLE, ("moved", 9), id="a line above"),
        pytest.param(
            TABLE, TABLE.replace("table", "rows"), ("outdated", 8), id="renamed attribute"
        ),
        pytest.param(TABLE, TABLE.replace(".dim", ".dim, 0"), ("outdated", 8), id="new argument"),
        pytest.param(TABLE, TABLE.replace("nn.E", "my.E"), ("outdated", 8), id="another callee"),
        pytest.param(TABLE, TABLE.replace("self", "# self"), ("gone", None), id="commented out"),
        pytest.param(TABLE, "", ("gone", None), id="deleted"),
        pytest.param(
            TABLE,
            TABLE.replace("nn.E", "(\n            nn.E").replace("m)", "m,)\n        )"),
            ("exact", 8),
            id="formatted",
        ),
        pytest.param(
            "            self.norm = nn.LayerNorm(config.dim)\n",
            "            self.norms = nn.LayerNorm(config.dim)\n",
            ("outdated", 14),
            id="one of two branches renamed",
        ),
        pytest.param(
            "        self.query = nn.Linear(config.dim, config.dim)\n        self.key",
            "        self.asked",
            ("gone", None),
            id="deleted beside a renamed twin",
        ),
    ],
)
def test_each_kind_of_edit_has_its_answer(
    old: str, new: str, answer: tuple[str, int | None]
) -> None:
    assert changed(old, new) == answer


def test_a_moved_class_takes_its_statements_along() -> None:
    first, second = SOURCE.index("class Encoder"), SOURCE.index("class Decoder")
    third = SOURCE.index("def build")
    moved = SOURCE[:first] + SOURCE[second:third] + SOURCE[first:second] + SOURCE[third:]
    frames = followed(str(PATH), SOURCE)
    source = SourceText.parse(moved)
    for frame in frames:
        anchor = place(frame, source, None, frames)
        assert anchor.range is not None
        assert anchor.state in ("exact", "moved") and anchor.qualname == frame.qualname


def test_while_a_class_is_renamed_and_a_line_is_typed_its_statements_are_found() -> None:
    text = SOURCE.replace("class Decoder", "class Reader")
    text = text.replace("        def head", "        self.new = nn.Linear(\n        def head")
    source = SourceText.parse(text)
    frames = followed(str(PATH), SOURCE)
    head = next(frame for frame in frames if frame.text.startswith("self.head"))
    assert source.broken
    assert place(head, source, None, frames).state == "moved"
    shared = next(each for each in frames if each.qualname == "Decoder.__init__")
    assert place(shared, source, None, frames).state in ("gone", "exact")


def test_marks_follow_their_statements_through_any_formatter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unparse = "import ast, sys; print(ast.unparse(ast.parse(sys.stdin.read())))"

    def command(width: int) -> list[str]:
        return [sys.executable, "-c", unparse]

    monkeypatch.setattr("edit_scripts.FORMATTERS", {"unparse": command})
    text = "class M:\n    def __init__(self):\n        self.a = nn.Linear(\n            1, 2)\n"
    text += "        x = 1; self.b = nn.Linear(3,4)\n"
    script = Script.begin("/project/m.py", text, 0)
    named = {index: frame.text.split(" = ")[0] for index, frame in enumerate(script.frames)}
    assert sorted(named.values()) == ["self.a", "self.b"]
    while script.edit() != "format":
        script = Script.begin("/project/m.py", text, script.random.randrange(1000))
    assert script.text == (
        "class M:\n\n    def __init__(self):\n        self.a = nn.Linear(1, 2)\n        x = 1\n"
        "        self.b = nn.Linear(3, 4)\n"
    )
    truth = script.truth()
    assert {named[index]: line for index, (line, _) in truth.items()} == {"self.a": 3, "self.b": 5}
