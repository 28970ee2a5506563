"""A run as one HTML page: no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gradtracer_server.render.card import (
    Verdict,
    layer_kind,
    layer_values,
    run_status,
    verdict,
)
from gradtracer_server.render.chart import line_chart, lorenz_chart
from gradtracer_server.render.escape import clean
from gradtracer_server.render.figures import figures, label, tells_of_the_model
from gradtracer_server.render.numbers import count
from gradtracer_server.render.text import run_script

if TYPE_CHECKING:
    from gradtracer_server.runs import LayerState, Run

LAYERS = 200
"""A page shows no more; layers with a diagnosis come first."""

_STYLE = """\
:root{color-scheme:light dark;--ink:#1c1c1e;--soft:#6a6a70;--line:#d8d8dd;--paper:#fff;
--card:#f6f6f8;--blue:#0072b2;--bad:#b34700}
@media (prefers-color-scheme:dark){:root{--ink:#e6e6ea;--soft:#9a9aa3;--line:#3a3a40;
--paper:#161618;--card:#1f1f23;--blue:#56b4e9;--bad:#f0a050}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:24px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px;margin:0}h2{font-size:17px;margin:32px 0 8px}h3{font-size:15px;margin:0}
p{margin:6px 0}code{font-family:ui-monospace,monospace;font-size:.92em}
.soft{color:var(--soft)}.card{background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:14px 16px;margin:12px 0;overflow-wrap:anywhere}
.finding{border-left:4px solid var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:14px;
margin-top:10px}svg{width:100%;height:auto;display:block}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:2px 18px 2px 0;text-align:left;font-weight:400}td:nth-child(n+2){text-align:right}
th{color:var(--soft)}th:nth-child(n+2){text-align:right}
text{fill:var(--ink);font:10px system-ui,sans-serif}.ends{text-anchor:end}
.foot{fill:var(--soft);font-size:9px}.frame{fill:none;stroke:var(--line)}
.line{fill:none;stroke:var(--blue);stroke-width:1.6}.band{fill:var(--blue);fill-opacity:.16}
.equal{fill:none;stroke:var(--soft);stroke-dasharray:3 3}dl{margin:6px 0;display:grid;
grid-template-columns:auto 1fr;gap:2px 12px}dt{color:var(--soft)}dd{margin:0}
details summary{cursor:pointer;color:var(--soft)}
@media print{body{max-width:none}.card{break-inside:avoid}}"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def run_page(run: Run, places: Mapping[str, str]) -> str:
    """The whole page. `places`: `path:line:col` by the id of a diagnosis."""
    name = f"{clean(run_script(run), 200)}, run {clean(run.id, 80)}"
    parts = [f"<h1>{_text(clean(run_script(run), 200))}</h1>", _head(run)]
    charts = "".join(line_chart(clean(n, 60), run.learning.series(n)) for n in run.learning.names)
    if charts:
        parts.append(f'<div class="charts">{charts}</div>')
    found = list(run.diagnoses.values())
    title = f"{count(len(found))} diagnos{'is' if len(found) == 1 else 'es'}"
    parts.append(f"<h2>{title if found else _healthy(run)}</h2>")
    parts += [_finding(verdict(each), places.get(each.id, ""), each.layer) for each in found]
    sick = {each.layer for each in found}
    layers = sorted(run.layers.items(), key=lambda item: item[0] not in sick)
    if layers:
        parts.append(f"<h2>{count(len(layers))} layer{'' if len(layers) == 1 else 's'}</h2>")
    parts += [_layer(layer, state) for layer, state in layers[:LAYERS]]
    if (more := len(layers) - LAYERS) > 0:
        parts.append(f'<p class="soft">and {count(more)} more layers</p>')
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>GradTracer: {_text(name)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def _head(run: Run) -> str:
    lines = [run_status(run), f"Run {clean(run.id, 80)}"]
    if run.started is not None:
        if run.started.argv:
            lines.append(f"Arguments: {clean(' '.join(run.started.argv))}")
        versions = ", ".join(f"{n} {v}" for n, v in run.started.versions.items() if v)
        lines.append(clean(versions))
    lines += [clean(f"Probe: {fault.message}") for fault in run.faults]
    return "".join(f'<p class="soft">{_text(line)}</p>' for line in lines if line)


def _healthy(run: Run) -> str:
    if not run.layers:
        return "No layer was watched: nothing could be found"
    return "Healthy: no test finds anything wrong" if run.observed else "No figures yet"


def _finding(found: Verdict, place: str, layer: str) -> str:
    advice = "".join(
        f"<dt>{_text(word)}</dt><dd>{_text(clean(text))}</dd>" for word, text in found.advice
    )
    where = f"{clean(layer, 120)}, {place}" if place else clean(layer, 120)
    body = " ".join(clean(each) for each in found.sentences)
    return (
        f'<section class="card finding"><h3>{_text(clean(found.title, 80))}</h3>'
        f'<p class="soft"><code>{_text(found.type)}</code> {_text(where)}</p>'
        f"<p>{_text(body)}</p><dl>{advice}</dl>"
        f'<p class="soft">{_text(clean(found.confidence))}.</p></section>'
    )


def _layer(name: str, state: LayerState) -> str:
    kind = clean(layer_kind(state.watched))
    values = layer_values(state)
    charts = _charts(state)
    rows = "".join(
        f"<tr><td>{_text(clean(row.label, 80))}</td><td>{_text(clean(row.value, 80))}</td>"
        f"<td>{_text(clean(row.interval, 80))}</td></tr>"
        for row in figures(values)
    )
    table = (
        f"<details><summary>Figures of step {count(state.observed_step or 0)}</summary><table>"
        f"<tr><th>Figure</th><th>Value</th><th>95 % interval</th></tr>{rows}</table></details>"
    )
    return (
        f'<section class="card"><h3>{_text(clean(name, 120))}</h3><p class="soft">{_text(kind)}</p>'
        f'<div class="charts">{"".join(charts)}</div>{table if rows else ""}</section>'
    )


def _charts(state: LayerState) -> list[str]:
    history = state.history
    drawn: list[str] = []
    for name in history.names:
        if not tells_of_the_model(name) or len({value for _, value in history.series(name)}) < 2:
            continue
        low, high = dict(history.series(f"{name}_low")), dict(history.series(f"{name}_high"))
        band = [(step, low[step], high[step]) for step in low if step in high]
        drawn.append(line_chart(label(name), history.series(name), band))
    curve: Sequence[float] = state.observation.curves.get("lorenz", []) if state.observation else []
    drawn.append(lorenz_chart("Lorenz curve of exposure", curve))
    return [each for each in drawn if each]


def _text(text: str) -> str:
    return html.escape(text)
