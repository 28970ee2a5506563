// The list of layers: only the rows in sight exist, so that a thousand layers cost what twenty do.
import type { Health, LayerSummary } from "../../run_types";
import { colours } from "./colours";
import { inWords } from "./figures";

const ROW = 28;
const SPARK = { width: 96, height: 18 } as const;
const WORDS: Readonly<Record<Health, string>> = {
  healthy: "healthy",
  unknown: "no figures yet",
  information: "something to know",
  warning: "a warning",
  error: "an error",
};

export type Points = readonly [steps: readonly number[], values: readonly number[]];

export class LayerList {
  private readonly box = document.createElement("div");
  private readonly sheet = document.createElement("div");
  private readonly rows = new Map<number, HTMLElement>();
  private all: readonly LayerSummary[] = [];
  private layers: readonly LayerSummary[] = [];
  private points: Readonly<Record<string, Points>> = {};
  private filter = "";
  private selected = "";

  constructor(private readonly chosen: (layer: string) => void) {
    this.box.className = "layers";
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "listbox");
    this.box.setAttribute("aria-label", "Layers");
    this.sheet.className = "sheet";
    this.sheet.setAttribute("role", "presentation");
    this.box.append(this.sheet);
    this.box.addEventListener("scroll", () => this.draw());
    this.box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  get element(): HTMLElement {
    return this.box;
  }

  get count(): number {
    return this.layers.length;
  }

  show(layers: readonly LayerSummary[]): void {
    this.all = layers;
    this.sift();
  }

  showPoints(points: Readonly<Record<string, Points>>): void {
    this.points = points;
    this.draw();
  }

  showOnly(filter: string): void {
    this.filter = filter.toLowerCase();
    this.sift();
  }

  select(name: string): void {
    this.selected = name;
    this.reveal();
    this.draw();
  }

  /** Draw again what is in sight, with the colours there are now. */
  draw(): void {
    this.sheet.style.height = `${this.layers.length * ROW}px`;
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 2);
    const last = Math.min(this.layers.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + 2);
    for (const [index, row] of this.rows) {
      if (index < first || index >= last) {
        row.remove();
        this.rows.delete(index);
      }
    }
    const { line } = colours();
    for (let index = first; index < last; index += 1) {
      const layer = this.layers[index];
      if (layer !== undefined) {
        this.fill(this.row(index), layer, index, line);
      }
    }
    const active = this.layers.findIndex(({ name }) => name === this.selected);
    if (this.rows.has(active)) {
      this.box.setAttribute("aria-activedescendant", `layer-${active}`);
    } else {
      this.box.removeAttribute("aria-activedescendant");
    }
  }

  private sift(): void {
    this.layers = this.all.filter(({ name }) => name.toLowerCase().includes(this.filter));
    this.draw();
  }

  private row(index: number): HTMLElement {
    const known = this.rows.get(index);
    if (known !== undefined) {
      return known;
    }
    const row = document.createElement("div");
    row.className = "layer";
    row.id = `layer-${index}`;
    row.style.top = `${index * ROW}px`;
    row.setAttribute("role", "option");
    const spark = document.createElement("canvas");
    const ratio = window.devicePixelRatio || 1;
    spark.width = SPARK.width * ratio;
    spark.height = SPARK.height * ratio;
    spark.setAttribute("aria-hidden", "true");
    const parts = ["mark", "name", "value"].map((name) => {
      const part = document.createElement("span");
      part.className = name;
      return part;
    });
    row.append(...parts.slice(0, 2), spark, ...parts.slice(2));
    row.addEventListener("click", () => {
      const layer = this.layers[Number(row.dataset["index"])];
      if (layer !== undefined) {
        this.choose(layer.name);
      }
    });
    this.rows.set(index, row);
    this.sheet.append(row);
    return row;
  }

  private fill(row: HTMLElement, layer: LayerSummary, index: number, color: string): void {
    const [mark, name, spark, value] = row.children as unknown as [
      HTMLElement,
      HTMLElement,
      HTMLCanvasElement,
      HTMLElement,
    ];
    const points = this.points[layer.name];
    const latest = points === undefined ? "" : inWords(points[1].at(-1));
    row.dataset["index"] = String(index);
    row.dataset["health"] = layer.health;
    row.setAttribute("aria-posinset", String(index + 1));
    row.setAttribute("aria-setsize", String(this.layers.length));
    row.setAttribute("aria-selected", String(layer.name === this.selected));
    // The sign itself is drawn by the style sheet; this is for those who do not see it.
    mark.textContent = WORDS[layer.health];
    name.textContent = layer.name;
    name.title = `${layer.name}: ${layer.kind}`;
    value.textContent = latest;
    drawSpark(spark, points, color);
  }

  private key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW) - 1);
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -this.layers.length,
      End: this.layers.length,
    };
    const move = moves[event.key];
    if (move === undefined) {
      return;
    }
    event.preventDefault();
    const active = this.layers.findIndex(({ name }) => name === this.selected);
    const layer = this.layers[Math.min(this.layers.length - 1, Math.max(0, active + move))];
    if (layer !== undefined) {
      this.choose(layer.name);
    }
  }

  private choose(name: string): void {
    this.select(name);
    this.chosen(name);
  }

  private reveal(): void {
    const index = this.layers.findIndex(({ name }) => name === this.selected);
    const top = index * ROW;
    if (index >= 0 && top < this.box.scrollTop) {
      this.box.scrollTop = top;
    } else if (top + ROW > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + ROW - this.box.clientHeight;
    }
  }
}

/** One line without axes. */
function drawSpark(canvas: HTMLCanvasElement, points: Points | undefined, color: string): void {
  const context = canvas.getContext("2d");
  if (context === null) {
    return;
  }
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (points === undefined || points[1].length < 2) {
    return;
  }
  const [, values] = points;
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const span = high - low || 1;
  context.beginPath();
  values.forEach((value, index) => {
    const x = (index / (values.length - 1)) * (width - 2) + 1;
    const y = height - 2 - ((value - low) / span) * (height - 4);
    context.lineTo(x, y);
  });
  context.strokeStyle = color;
  context.lineWidth = window.devicePixelRatio || 1;
  context.stroke();
}
