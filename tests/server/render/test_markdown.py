"""A card is a table and paragraphs in markdown, and aligned lines in plain text."""

from __future__ import annotations

from markdown_it import MarkdownIt

from gradtracer_server.render.card import Card, Verdict
from gradtracer_server.render.figures import Figure
from gradtracer_server.render.markdown import hover_markdown, hover_plain

CARD = Card(
    layer="item_emb",
    kind="Embedding 1,682 × 64, float32 on cpu",
    status="Live: step 7.",
    figures=[Figure("Coverage", "88 %"), Figure("Popularity Gini", "0.87", "0.85 to 0.89")],
    verdicts=[
        Verdict(
            "POPULARITY_BIAS",
            "A few rows win",
            ["So it is.", "It matters."],
            "Confidence 97 %",
            [("Do", "sample anew."), ("Risk", "none.")],
        )
    ],
)


def test_figures_are_a_table_with_numbers_to_the_right() -> None:
    text = hover_markdown([CARD])
    assert (
        "| Figure          | Value | 95 % interval |\n"
        "|:----------------|------:|--------------:|\n"
        "| Coverage        |  88 % |               |\n"
        "| Popularity Gini |  0.87 |  0.85 to 0.89 |\n"
    ) in text
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert '<td style="text-align:right">88 %</td>' in html
    assert "<strong><code>item_emb</code></strong> Embedding 1,682" in html


def test_a_verdict_is_a_paragraph_a_list_and_how_sure() -> None:
    html = MarkdownIt("commonmark").render(hover_markdown([CARD]))
    assert html.endswith(
        "<p><strong>A few rows win</strong> (<code>POPULARITY_BIAS</code>). "
        "So it is. It matters.</p>\n"
        "<ul>\n<li>Do: sample anew.</li>\n<li>Risk: none.</li>\n</ul>\n"
        "<p>Confidence 97 %.</p>\n<p><em>Live: step 7.</em></p>\n"
    )


def test_a_negative_number_in_a_table_is_no_list() -> None:
    card = Card("a", "", "", figures=[Figure("Noise", "-0.014", "-0.02 to -0.01")])
    text = hover_markdown([card])
    assert "| -0.014 |" in text
    assert "\\" not in text
    assert '<td style="text-align:right">-0.014</td>' in (
        MarkdownIt("commonmark").enable("table").render(text)
    )


def test_without_intervals_there_is_no_column_for_them() -> None:
    card = Card("a", "", "", figures=[Figure("Coverage", "88 %")])
    assert "interval" not in hover_markdown([card])


def test_plain_text_lines_up() -> None:
    assert hover_plain([CARD]).splitlines() == [
        "item_emb: Embedding 1,682 × 64, float32 on cpu",
        "  Coverage         88 %",
        "  Popularity Gini  0.87  (0.85 to 0.89)",
        "A few rows win (POPULARITY_BIAS). So it is. It matters.",
        "- Do: sample anew.",
        "- Risk: none.",
        "Confidence 97 %.",
        "Live: step 7.",
    ]


def test_what_was_measured_before_an_edit_says_so_once() -> None:
    verdict = Verdict("NON_FINITE", "t", ["It was."], "sure", outdated=True)
    card = Card("a", "", "", outdated=True, verdicts=[verdict])
    for text in (hover_markdown([card]), hover_plain([card])):
        assert text.count("Measured before this edit.") == 1


def test_hundreds_of_layers_on_one_line_are_summed_up() -> None:
    cards = [Card(f"tables.{number}", "", "") for number in range(300)]
    for text in (hover_markdown(cards), hover_plain(cards)):
        assert text.count("tables.") == 5
        assert text.endswith("and 295 more layers defined here")
