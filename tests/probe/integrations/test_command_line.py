"""Words behind `python -m gradtracer`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer.command_line import USAGE, Command, parse
from gradtracer.exceptions import UsageError


def test_what_follows_the_script_is_its_own():
    assert parse(["train.py", "--help", "-m", "x"]) == Command(
        "train.py", False, ["--help", "-m", "x"], {}
    )


def test_what_follows_a_module_is_its_own():
    assert parse(["--auto-fix", "-m", "a.b", "--auto-fix"]) == Command(
        "a.b", True, ["--auto-fix"], {"auto_fix": True}
    )


@pytest.mark.parametrize("words", [["--track-interval", "7"], ["--track-interval=7"]])
def test_the_interval_is_a_number(words: list[str]):
    assert parse([*words, "a.py"]) == Command("a.py", False, [], {"track_interval": 7})


@pytest.mark.parametrize("words", [["-h"], ["--auto-fix", "--help", "train.py"]])
def test_help_is_asked_for_before_the_script(words: list[str]):
    assert parse(words) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--track-interval"], "--track-interval expects a value, e.g. --track-interval 100"),
        (["--track-interval=0", "a.py"], "expects a whole number from 1"),
        (["--track-interval", "a.py"], "got 'a.py'"),
        (["-m"], "-m expects a value, e.g. -m recommender.train"),
        (["--trak-interval", "3"], "did you mean --track-interval?"),
        (["--auto-fix=yes", "a.py"], "unknown option --auto-fix=yes; did you mean --auto-fix?"),
        (["-x"], "unknown option -x; Options of the script stand behind its name"),
    ],
)
def test_a_wrong_word_is_named_with_what_was_expected(words: list[str], told: str):
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert told in str(caught.value)


@given(st.lists(st.text(max_size=8)))
def test_the_scripts_words_are_never_touched(words: list[str]):
    assert parse(["train.py", *words]) == Command("train.py", False, words, {})


@given(st.lists(st.text(max_size=12)))
def test_any_words_give_a_command_help_or_a_usage_error(words: list[str]):
    try:
        parse(words)
    except UsageError as error:
        assert str(error)


def test_help_names_every_option_with_examples():
    for word in ("--track-interval", "--auto-fix", "-m MODULE", "--help", "examples:"):
        assert word in USAGE
