"""Whatever a journal says, markdown shows exactly these characters and nothing acts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gradtracer_server.render.escape import clean, code, inline, markdown

MARKUP = st.text(
    alphabet=st.sampled_from(list("ab1_*`[]()<>&;#!|~\\/:.-+=@ \n\t{}\"'^$%")), max_size=30
)
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(source: str) -> str:
    tokens = PARSER.parse(source)
    inline = [child for token in tokens if token.type == "inline" for child in token.children or []]
    kinds = {token.type for token in tokens} | {child.type for child in inline}
    assert kinds <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}, kinds
    return "".join(child.content for child in inline)


@settings(max_examples=500)
@given(MARKUP)
@example("[a](https://evil.example)")
@example("<img src=x onerror=alert(1)>")
@example("![a](data:image/svg+xml,x)")
@example("1234) first")
@example("&lt;b&gt;")
def test_text_is_shown_as_it_is(text: str) -> None:
    assert shown(markdown(text)) == clean(text)


@given(MARKUP)
def test_text_in_the_middle_of_a_paragraph_is_shown_as_it_is(text: str) -> None:
    assert shown(f"before {markdown(text)}") == clean(f"before {text}")
    assert shown(f"before {inline(text)}") == clean(f"before {text}")


@given(MARKUP)
@example("-0.014")
@example("1. a")
def test_a_table_cell_is_shown_as_it_is(text: str) -> None:
    tokens = PARSER.parse(f"| a |\n|---|\n| {inline(text)} |\n")
    *_, cell = [token for token in tokens if token.type == "inline"]
    if clean(text):
        assert {child.type for child in cell.children or []} <= {"text", "text_special"}
        assert "".join(child.content for child in cell.children or []) == clean(text)


def test_a_number_below_zero_in_a_cell_has_no_backslash() -> None:
    assert inline("-0.014") == "-0.014"
    assert markdown("-0.014") == "\\-0.014"


def test_the_parser_sees_markup_that_is_not_escaped() -> None:
    with pytest.raises(AssertionError):
        shown("[a](https://evil.example)")


@given(MARKUP)
def test_a_code_span_is_one_code_span(text: str) -> None:
    span = code(text)
    if not clean(text):
        assert span == ""
        return
    [inline] = [token for token in PARSER.parse(f"x {span} y") if token.type == "inline"]
    spans = [child for child in inline.children or [] if child.type == "code_inline"]
    assert [child.content.strip() for child in spans] == [clean(text).replace("|", "¦").strip()]


@pytest.mark.parametrize(
    "text", ["see https://evil.example", "www.evil.example", "mailto:a@b.example", "a@b.example"]
)
def test_a_bare_address_is_no_link(text: str) -> None:
    escaped = markdown(text)
    assert "://" not in escaped
    assert "www." not in escaped
    assert "mailto:" not in escaped
    assert "a@b" not in escaped


def test_ordinary_sentences_stay_readable_in_a_terminal() -> None:
    text = "gini of item_emb is 0.87 [0.85, 0.89], p < 0.01 (n = 1,682); it grows!"
    assert markdown(text) == text


@given(st.text())
def test_no_control_or_direction_code_comes_through(text: str) -> None:
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in clean(text))


def test_long_text_is_cut() -> None:
    assert len(clean("a" * 10_000, 100)) == 100
