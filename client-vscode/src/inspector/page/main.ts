// The inspector's page: the list of layers on the left, the charts of one of them on the right.
import "./inspector.css";

import type { LayerSeries, RunDetail } from "../../run_types";
import type { FromPage, ToPage } from "../messages";
import { Charts } from "./charts";
import { followTheme } from "./colours";
import { offered, title } from "./figures";
import { LayerList } from "./layer_list";
import { RecipeView } from "./recipe";

declare function acquireVsCodeApi(): { postMessage(message: FromPage): void };

const vscode = acquireVsCodeApi();
const tell = (message: FromPage): void => vscode.postMessage(message);

let run: RunDetail | undefined;
let layer: LayerSeries | undefined;

const heading = element("h1");
const outcome = element("p", "outcome");
outcome.setAttribute("role", "status");
const filter = element("input");
filter.type = "search";
filter.placeholder = "Filter layers";
filter.setAttribute("aria-label", "Filter layers");
const statistic = element("select");
statistic.setAttribute("aria-label", "Statistic in the list");
const count = element("p", "count");
count.setAttribute("role", "status");
const layerHeading = element("h2");
const kind = element("p", "kind");
const findings = element("ul", "findings");
const definition = button("Go to Definition", () => tell({ kind: "definition", layer: layer?.layer ?? "" }));
const png = button("Export PNG", () => void exportPicture());
const json = button("Export JSON", () => void exportJson());
const list = new LayerList((name) => tell({ kind: "selected", layer: name }));
const charts = new Charts();
const recipe = new RecipeView(() => tell({ kind: "apply-recipe" }));

const side = element("section", "side");
side.setAttribute("aria-label", "Layers of the run");
const tools = element("div", "tools");
tools.append(filter, statistic);
side.append(heading, outcome, tools, list.element, count);
const actions = element("div", "actions");
actions.append(definition, png, json);
const detail = element("section", "detail");
detail.setAttribute("aria-label", "Figures of the layer");
detail.tabIndex = 0;
detail.append(layerHeading, kind, findings, actions, charts.element, recipe.element);
document.getElementById("page")?.append(side, detail);
showLayer(undefined);

filter.addEventListener("input", () => {
  list.showOnly(filter.value);
  showCount();
});
statistic.addEventListener("change", () => tell({ kind: "statistic", statistic: statistic.value }));
window.addEventListener("message", ({ data }: MessageEvent<ToPage>) => hear(data));
followTheme(() => {
  charts.repaint();
  recipe.repaint();
  list.draw();
});
tell({ kind: "ready" });

function hear(message: ToPage): void {
  switch (message.kind) {
    case "run":
      showRun(message.title, message.run);
      return;
    case "gone":
      outcome.textContent = "This run was deleted. What is shown is the last that was known of it.";
      return;
    case "select":
      select(message.layer);
      return;
    case "layer":
      showLayer(message.series);
      return;
    case "statistic":
      list.showPoints(message.series.layers);
      return;
  }
}

function showRun(name: string, told: RunDetail): void {
  if (run !== undefined && run.folder !== told.folder) {
    showLayer(undefined);
    list.showPoints({});
    // A booster has none of a table's statistics.
    statistic.replaceChildren();
  }
  run = told;
  heading.textContent = name;
  outcome.textContent = told.outcome;
  list.show(told.layers);
  recipe.show(told.recipe, told.diagnoses.some(({ type }) => type === "COMPRESSIBLE"));
  showCount();
  showFindings();
  const first = told.layers.find(({ health }) => health === "warning" || health === "error") ?? told.layers[0];
  if (layer === undefined && first !== undefined) {
    select(first.name);
  }
}

function select(name: string): void {
  list.select(name);
  tell({ kind: "selected", layer: name });
}

function showLayer(series: LayerSeries | undefined): void {
  layer = series;
  definition.hidden = png.hidden = json.hidden = series === undefined;
  layerHeading.textContent = series?.layer ?? "No layer selected";
  kind.textContent = series?.kind ?? "";
  showFindings();
  if (series === undefined) {
    charts.clear();
    return;
  }
  charts.show(series);
  offerStatistics(Object.keys(series.series.values));
}

function showFindings(): void {
  const of = run?.diagnoses.filter((each) => each.layer === layer?.layer) ?? [];
  findings.replaceChildren(
    ...of.map(({ title: name, premise, severity }) => {
      const item = element("li");
      item.dataset["severity"] = severity;
      const strong = element("strong");
      strong.textContent = name;
      item.append(strong, ` ${premise}`);
      return item;
    }),
  );
}

function offerStatistics(names: readonly string[]): void {
  const known = new Set([...statistic.options].map(({ value }) => value));
  const all = offered(new Set([...known, ...names]));
  if (all.length === known.size) {
    return;
  }
  const chosen = statistic.value;
  statistic.replaceChildren(...all.map((name) => new Option(title(name), name, false, name === chosen)));
  if (statistic.value !== chosen) {
    tell({ kind: "statistic", statistic: statistic.value });
  }
}

function showCount(): void {
  const all = run?.layers.length ?? 0;
  const layers = all === 1 ? "1 layer" : `${all} layers`;
  count.textContent = list.count === all ? layers : `${list.count} of ${layers}`;
}

async function exportPicture(): Promise<void> {
  if (run !== undefined && layer !== undefined) {
    const picture = await charts.picture(`${layer.layer}, ${layer.kind}`);
    if (picture !== null) {
      tell({ kind: "save", name: `${run.id}-${layer.layer}.png`, base64: await base64(picture) });
    }
  }
}

async function exportJson(): Promise<void> {
  if (run !== undefined && layer !== undefined) {
    const text = JSON.stringify({ run, layer }, undefined, 2);
    tell({ kind: "save", name: `${run.id}-${layer.layer}.json`, base64: await base64(new Blob([text])) });
  }
}

async function base64(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(text);
}

function button(label: string, pressed: () => void): HTMLButtonElement {
  const made = element("button");
  made.textContent = label;
  made.addEventListener("click", pressed);
  return made;
}

function element<K extends keyof HTMLElementTagNameMap>(name: K, className = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  made.className = className;
  return made;
}
