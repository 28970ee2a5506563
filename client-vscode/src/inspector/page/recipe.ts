// What the run's compression recipe does to each layer, and what its other sizes would cost.
import uPlot from "uplot";

import type { RecipeSummary } from "../../run_types";
import { colours } from "./colours";
import { frontOf, megabytes, recipeWords } from "./recipe_words";

const HEIGHT = 150;

export class RecipeView {
  readonly element = document.createElement("details");
  private readonly heading = document.createElement("summary");
  private readonly told = document.createElement("p");
  private readonly plot = document.createElement("div");
  private readonly table = document.createElement("table");
  private readonly button = document.createElement("button");
  private shown = "";
  private drawn: uPlot | undefined;
  private recipe: RecipeSummary | null = null;

  constructor(apply: () => void) {
    this.element.className = "recipe";
    this.heading.textContent = "Compression recipe";
    this.plot.className = "plot";
    this.plot.setAttribute("role", "img");
    this.button.textContent = "Apply the Recipe";
    this.button.addEventListener("click", apply);
    this.element.append(this.heading, this.told, this.button, this.plot, this.table);
    this.element.addEventListener("toggle", () => this.draw());
    this.show(null, false);
  }

  /** `offered`: it surely keeps the quality, so that there is a fix that applies it. */
  show(recipe: RecipeSummary | null, offered: boolean): void {
    this.button.hidden = !offered;
    const text = JSON.stringify(recipe);
    if (text === this.shown) {
      return;
    }
    this.shown = text;
    this.recipe = recipe;
    this.element.hidden = recipe === null;
    if (recipe !== null) {
      this.told.textContent = recipeWords(recipe);
      this.table.replaceChildren(...rows(recipe));
    }
    this.draw();
  }

  /** Draw again in the colours there are now. */
  repaint(): void {
    this.draw();
  }

  private draw(): void {
    this.drawn?.destroy();
    this.drawn = undefined;
    const front = this.recipe === null ? undefined : frontOf(this.recipe);
    this.plot.hidden = front === undefined;
    if (front === undefined || !this.element.open) {
      return;
    }
    const palette = colours();
    const axis = { stroke: palette.faint, grid: { stroke: palette.grid, width: 1 }, ticks: { stroke: palette.grid } };
    const points = { show: true, size: 7, fill: palette.line };
    this.drawn = new uPlot(
      {
        width: this.plot.clientWidth || 280,
        height: HEIGHT,
        legend: { show: false },
        scales: { x: { time: false } },
        axes: [
          { ...axis, space: 60, size: 30, values: (_, splits) => splits.map(megabytes) },
          { ...axis, size: 60 },
        ],
        series: [{}, { stroke: palette.line, width: 1, points }],
      },
      [[...front.bytes], [...front.values]],
      this.plot,
    );
    this.plot.setAttribute("aria-label", front.words);
  }
}

function rows({ layers }: RecipeSummary): HTMLElement[] {
  const head = document.createElement("thead");
  head.append(row("th", ["Layer", "Stored as", "Before", "After", "Quality"]));
  const body = document.createElement("tbody");
  body.append(
    ...layers.map(({ name, form, before, after, measured }) =>
      row("td", [
        name,
        form,
        before === null ? "" : megabytes(before),
        after === null ? "" : megabytes(after),
        measured === null ? "not measured alone" : `${(-100 * measured).toFixed(2)} %`,
      ]),
    ),
  );
  return [head, body];
}

function row(kind: "td" | "th", texts: readonly string[]): HTMLElement {
  const made = document.createElement("tr");
  made.append(
    ...texts.map((text) => {
      const cell = document.createElement(kind);
      cell.textContent = text;
      if (kind === "th") {
        cell.setAttribute("scope", "col");
      }
      return cell;
    }),
  );
  return made;
}
