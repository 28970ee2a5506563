// The charts of one layer. A chart that stays is given new figures, not built anew.
import uPlot from "uplot";

import type { LayerSeries } from "../../run_types";
import { type Colours, colours } from "./colours";
import { type Chart, charts, inWords, rowStates, type RowStates } from "./figures";

const HEIGHT = 150;
const WORDS: Readonly<Record<string, string>> = {
  healthy: "healthy",
  zombie: "zombie",
  rare: "too rare to judge",
  unseen: "not seen yet",
  dead: "dead",
};

interface Drawn {
  readonly figure: HTMLElement;
  readonly heading: HTMLElement;
  readonly told: HTMLElement;
  readonly plot: uPlot;
}

/** What a chart shows, whatever it shows. */
interface Content {
  readonly name: string;
  readonly title: string;
  readonly summary: string;
  readonly data: uPlot.AlignedData;
  readonly options: (palette: Colours) => Pick<uPlot.Options, "series"> & Partial<uPlot.Options>;
}

export class Charts {
  readonly element = document.createElement("div");
  private drawn = new Map<string, Drawn>();
  private shown: LayerSeries | undefined;

  constructor() {
    this.element.className = "charts";
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  show(layer: LayerSeries): void {
    if (this.shown?.layer !== layer.layer) {
      this.clear();
    }
    this.shown = layer;
    const contents = contentsOf(layer);
    const names = new Set(contents.map(({ name }) => name));
    for (const [name, { figure, plot }] of this.drawn) {
      if (!names.has(name)) {
        plot.destroy();
        figure.remove();
        this.drawn.delete(name);
      }
    }
    for (const content of contents) {
      const known = this.drawn.get(content.name);
      if (known === undefined) {
        this.drawn.set(content.name, this.build(content));
      } else {
        known.plot.setData(content.data);
        describe(known, content);
      }
    }
  }

  /** Draw everything again in the colours there are now. */
  repaint(): void {
    const { shown } = this;
    this.clear();
    if (shown !== undefined) {
      this.show(shown);
    }
  }

  clear(): void {
    this.shown = undefined;
    for (const { plot } of this.drawn.values()) {
      plot.destroy();
    }
    this.drawn.clear();
    this.element.replaceChildren();
  }

  /** All charts one below the other, as one picture. */
  async picture(heading: string): Promise<Blob | null> {
    const palette = colours();
    const canvases = [...this.drawn.values()].map(({ heading: head, plot }) => ({
      title: head.textContent,
      canvas: plot.ctx.canvas,
    }));
    const ratio = window.devicePixelRatio || 1;
    const head = 24 * ratio;
    const sheet = document.createElement("canvas");
    sheet.width = Math.max(...canvases.map(({ canvas }) => canvas.width), 320 * ratio);
    sheet.height = canvases.reduce((sum, { canvas }) => sum + canvas.height + head, 2 * head);
    const context = sheet.getContext("2d");
    if (context === null) {
      return null;
    }
    context.fillStyle = getComputedStyle(document.body).getPropertyValue("--vscode-editor-background") || "#1e1e1e";
    context.fillRect(0, 0, sheet.width, sheet.height);
    context.fillStyle = palette.text;
    context.font = `bold ${14 * ratio}px sans-serif`;
    context.fillText(heading, 8 * ratio, 18 * ratio);
    context.font = `${12 * ratio}px sans-serif`;
    let top = head + 8 * ratio;
    for (const { title, canvas } of canvases) {
      context.fillText(title, 8 * ratio, top + 14 * ratio);
      context.drawImage(canvas, 0, top + head);
      top += head + canvas.height;
    }
    return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
  }

  private build(content: Content): Drawn {
    const figure = document.createElement("figure");
    const heading = document.createElement("figcaption");
    const told = document.createElement("p");
    const place = document.createElement("div");
    place.className = "plot";
    place.setAttribute("role", "img");
    figure.append(heading, place, told);
    this.element.append(figure);
    const palette = colours();
    const axis = { stroke: palette.faint, grid: { stroke: palette.grid, width: 1 }, ticks: { stroke: palette.grid } };
    const options: uPlot.Options = {
      width: place.clientWidth || 280,
      height: HEIGHT,
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false } },
      axes: [
        { ...axis, space: 60, size: 30, values: (_, splits) => splits.map(short) },
        { ...axis, size: 52, values: (_, splits) => splits.map(short) },
      ],
      ...content.options(palette),
    };
    const plot = new uPlot(options, content.data, place);
    const drawn = { figure, heading, told, plot };
    describe(drawn, content);
    return drawn;
  }

  private resize(): void {
    for (const { plot } of this.drawn.values()) {
      const width = plot.root.parentElement?.clientWidth ?? 0;
      if (width > 0 && width !== plot.width) {
        plot.setSize({ width, height: HEIGHT });
      }
    }
  }
}

function describe({ heading, told, plot }: Drawn, { title, summary }: Content): void {
  heading.textContent = title;
  told.textContent = summary;
  plot.root.parentElement?.setAttribute("aria-label", `${title}. ${summary}`);
}

function contentsOf(layer: LayerSeries): Content[] {
  const states = rowStates(layer);
  return [
    ...lorenz(layer),
    ...(states === undefined ? [] : [stack(states)]),
    ...charts(layer).map((chart) => line(chart)),
  ];
}

/** The share of look-ups that falls on the least seen share of rows. */
function lorenz({ curves, values }: LayerSeries): Content[] {
  const curve = curves["lorenz"];
  if (curve === undefined || curve.length < 2) {
    return [];
  }
  const share = curve.map((_, index) => index / (curve.length - 1));
  const gini = values["gini"];
  const low = values["gini_low"];
  const band = low === undefined ? "" : ` (${inWords(low)} to ${inWords(values["gini_high"])})`;
  return [
    {
      name: "lorenz",
      title: "Exposure over rows",
      summary: gini === undefined ? "Dashed: all rows alike" : `Gini ${inWords(gini)}${band}. Dashed: all rows alike`,
      data: [share, [...curve], share],
      options: ({ line: stroke, band: fill, faint }) => ({
        scales: { x: { time: false, range: [0, 1] }, y: { range: [0, 1] } },
        series: [
          {},
          { stroke, fill, width: 2, points: { show: false } },
          { stroke: faint, dash: [4, 4], width: 1, points: { show: false } },
        ],
      }),
    },
  ];
}

/** Areas that add up, the healthy rows at the bottom. */
function stack({ steps, states }: RowStates): Content {
  const sums: number[][] = [];
  for (const { rows } of states) {
    const below = sums.at(-1);
    sums.push(rows.map((count, index) => count + (below?.[index] ?? 0)));
  }
  const latest = states
    .map(({ name, rows }) => [WORDS[name] ?? name, rows.at(-1) ?? 0] as const)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${inWords(Math.round(count))} ${name}`);
  return {
    name: "states",
    title: "Rows by state",
    summary: latest.join(", "),
    // The tallest first: each is painted over by those below it.
    data: [[...steps], ...[...sums].reverse()] as uPlot.AlignedData,
    options: (palette) => ({
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, most] } },
      series: [
        {},
        ...[...states].reverse().map(({ name }) => {
          const color = palette.states[name] ?? palette.line;
          return { stroke: color, fill: color, width: 1, points: { show: false } };
        }),
      ],
    }),
  };
}

function line({ name, title, steps, values, low, high, best }: Chart): Content {
  const known = values.filter((value) => value !== null);
  const last = known.at(-1);
  const ends = known.length < 2 ? "" : `, from ${inWords(known[0])}`;
  const interval = low === undefined ? "" : ` (95 %: ${inWords(low.at(-1))} to ${inWords(high?.at(-1))})`;
  const turn = best === undefined ? "" : `, best in round ${inWords(best)}`;
  const lines = low === undefined || high === undefined ? [values] : [values, high, low];
  return {
    name,
    title,
    summary: `${inWords(last)}${interval}${ends}${turn}`,
    data: [[...steps], ...lines.map((each) => [...each])] as uPlot.AlignedData,
    options: ({ line: stroke, band }) => ({
      series: [
        {},
        { stroke, width: 2, spanGaps: true, points: { show: known.length < 2 } },
        ...lines.slice(1).map(() => ({ stroke: band, width: 1, spanGaps: true, points: { show: false } })),
      ],
      ...(lines.length === 3 ? { bands: [{ series: [2, 3] as [number, number], fill: band }] } : {}),
    }),
  };
}

/** An axis label of few characters. */
function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) {
    return `${Number((value / 1e6).toPrecision(3))}M`;
  }
  if (size >= 1e4) {
    return `${Number((value / 1e3).toPrecision(3))}k`;
  }
  return size !== 0 && size < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(3)));
}
