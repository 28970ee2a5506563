"""`gradtracer report`: one page that needs nothing else and believes nothing of a journal."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_factory import RunFactory

from gradtracer_schemas import LayerWatched, Observation
from gradtracer_server.render.chart import line_chart, lorenz_chart

from .conftest import Command

VOID = {"meta", "polyline", "polygon", "rect"}


class Page(HTMLParser):
    """Reads a page, and makes sure that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page_of(project: RunFactory, command: Command) -> tuple[str, Page]:
    assert command("report", "-o", "r.html").status == 0
    text = (project.root / "r.html").read_text(encoding="utf-8")
    return text, Page(text)


def trained(project: RunFactory) -> None:
    run = project.start(argv=["--lr", "0.1"])
    run.watch_layers()
    for step in range(100, 600, 100):
        run.emit(
            Observation(
                layer="item_emb",
                values={"effective_rank": 64 - step / 10, "gini": 0.6},
                curves={"lorenz": [0.0, 0.1, 0.4, 1.0]},
            ),
            step=step,
        )
        run.progress(step=step)
    run.diagnose("ZOMBIE_EMBEDDINGS", "item_emb")
    run.end()


def test_page_holds_findings_figures_and_plots(project: RunFactory, command: Command) -> None:
    trained(project)
    text, page = page_of(project, command)
    words = " ".join(page.words)
    for expected in (
        "1 diagnosis",
        "Rows that move much and get nowhere",
        "item_emb, train.py:10:25",
        "look at the examples behind the named rows.",
        "p = 0.0004, n = 1,000",
        "Arguments: --lr 0.1",
        "Lorenz curve of exposure",
        "Effective rank",
    ):
        assert expected in words
    assert sum(tag == "svg" for tag, _ in page.tags) >= 2
    assert "prefers-color-scheme:dark" in text


def test_page_asks_nothing_of_anyone(project: RunFactory, command: Command) -> None:
    trained(project)
    text, page = page_of(project, command)
    assert not {"script", "link", "img", "iframe", "a"} & {tag for tag, _ in page.tags}
    assert not any(name in {"src", "href"} for _, held in page.tags for name in held)
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "url(" not in text
    policies = [held["content"] for tag, held in page.tags if held.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_page_believes_nothing_of_a_journal(project: RunFactory, command: Command) -> None:
    evil = "</style><script>alert(1)</script><img src=x onerror=y>\u202e"
    run = project.start(argv=[evil], versions={evil: evil})
    run.emit(LayerWatched(layer=evil, type=evil, shape=[2, 2], dtype=evil, device=evil))
    run.emit(Observation(layer=evil, values={evil: 1.0, "gini": 0.5}), step=1)
    run.emit(Observation(layer=evil, values={evil: 2.0, "gini": 0.7}), step=2)
    run.diagnose("POPULARITY_BIAS", evil, site=project.layer_site("item_emb"), premise=evil)
    run.end()
    text, page = page_of(project, command)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, held in page.tags for name in held)
    assert "\u202e" not in text
    assert evil[:20] in " ".join(page.words)


@pytest.mark.parametrize(
    ("watched", "said"),
    [(True, "Healthy: no test finds anything wrong"), (False, "No layer was watched")],
)
def test_healthy_is_said_plainly(
    project: RunFactory, command: Command, watched: bool, said: str
) -> None:
    run = project.start()
    if watched:
        run.watch_layers()
        run.observe("item_emb")
    run.end()
    assert said in page_of(project, command)[0]


def test_file_is_named_for_the_run_unless_told(project: RunFactory, command: Command) -> None:
    run = project.finished()
    answer = command("report")
    assert (answer.status, answer.out) == (0, "")
    assert (project.root / f"gradtracer-{run.id}.html").exists()
    assert command("report", run.id, "-o", "-").out.startswith("<!doctype html>")


def test_what_cannot_be_written_or_found_is_a_usage_error(
    project: RunFactory, command: Command
) -> None:
    assert "No runs found" in command("report").err
    run = project.finished()
    answer = command("report", "-o", str(Path("no") / "r.html"))
    assert answer.status == 2
    assert "expected a file that can be written" in answer.err
    assert f"did you mean {run.id}" in command("report", f"{run.id[:-1]}f").err


@pytest.mark.parametrize(
    "points", [[], [(1.0, 2.0)], [(1.0, float("nan")), (2.0, float("inf")), (3.0, 1.0)]]
)
def test_too_few_points_draw_nothing(points: list[tuple[float, float]]) -> None:
    assert line_chart("x", points) == ""
    assert lorenz_chart("x", [0.0]) == ""
    assert lorenz_chart("x", [0.0, float("nan")]) == ""


def test_points_stay_in_the_frame() -> None:
    drawn = line_chart("x", [(0.0, 5.0), (1.0, 5.0)], [(0.0, -1e300, 1e300), (1.0, 4.0, 6.0)])
    numbers = [
        tuple(map(float, pair.split(",")))
        for held in re.findall(r'points="([^"]*)"', drawn)
        for pair in held.split()
    ]
    assert numbers
    assert all(0 <= x <= 320 and 0 <= y <= 120 for x, y in numbers)
