// Which charts a layer has, from the statistics that there are. Knows no page.
import type { LayerSeries, Series } from "../../run_types";

/** A line over steps, with its interval where there is one. */
export interface Chart {
  readonly name: string;
  readonly title: string;
  readonly steps: readonly number[];
  readonly values: readonly (number | null)[];
  readonly low?: readonly (number | null)[];
  readonly high?: readonly (number | null)[];
  /** The round with the best value, of a booster's validation metric. */
  readonly best?: number;
}

/** Rows of a table by state at each step; the states of a step add up to the rows. */
export interface RowStates {
  readonly steps: readonly number[];
  readonly states: readonly { readonly name: string; readonly rows: readonly number[] }[];
}

const TITLES: Readonly<Record<string, string>> = {
  loss: "Loss",
  update_velocity: "Update velocity",
  effective_rank: "Effective rank",
  gradient_snr: "Gradient SNR",
  update_ratio: "Update to weight",
  gini: "Popularity Gini",
  coverage: "Coverage",
  oscillation: "Oscillation",
  noise_energy: "Gradient noise energy",
  drift_share: "Drift share",
  validation: "Validation metric",
  training: "Training metric",
  leaf_velocity: "Leaf velocity, of its largest",
  effective_features: "Features in effective use",
  zombie_rows: "Zombie rows",
  dead_rows: "Dead rows",
  unknown_rows: "Rows too rare to judge",
};
/** Shown before the others, in this order. */
const FIRST = ["loss", "update_velocity", "gradient_snr", "effective_rank", "update_ratio"];
/** Sizes and counters, which say nothing as a line. */
const LEFT_OUT = new Set([
  "rows", "dim", "steps", "exposures", "seen_rows", "unseen_rows", "rounds", "trees", "leaves", "features",
]);

/** What a booster tells of its rounds, in this order: a line over rounds, not over reports. */
const OF_ROUNDS = ["validation", "training", "leaf_velocity", "effective_features"];

/** `grad_norm_max` as words. */
export function title(name: string): string {
  const words = TITLES[name] ?? name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Statistics that a list of layers can be read by, the usual ones first. */
export function offered(names: Iterable<string>): string[] {
  const shown = [...names].filter((name) => !LEFT_OUT.has(name) && !/_(low|high)$/.test(name));
  return shown.sort((one, other) => rank(one) - rank(other) || (one < other ? -1 : 1));
}

/** The lines of a layer, and those of the run's loss and metrics before them; of a booster its rounds first. */
export function charts(layer: LayerSeries): Chart[] {
  const told = rounds(layer);
  const names = new Set(told.map(({ name }) => name));
  const others = [...lines(layer.learning), ...lines(layer.series)].filter(({ name }) => !names.has(name));
  return [...told, ...others.sort((one, other) => rank(one.name) - rank(other.name))];
}

/** The curves of a booster, thinned evenly from its first round to its last. Empty for any other layer. */
function rounds({ curves, values }: LayerSeries): Chart[] {
  const all = values["rounds"];
  if (all === undefined) {
    return [];
  }
  return OF_ROUNDS.flatMap((name) => {
    const line = curves[name];
    if (line === undefined || line.length === 0) {
      return [];
    }
    // Of stretches of rounds each figure stands at its stretch's end.
    const stretches = name === "effective_features";
    const steps = line.map((_, index) =>
      stretches
        ? Math.round(((index + 1) / line.length) * all)
        : 1 + Math.round((index / Math.max(1, line.length - 1)) * (all - 1)),
    );
    const best = name === "validation" && values["best_round"] !== undefined ? { best: values["best_round"] } : {};
    return [{ name, title: title(name), steps, values: line, ...best }];
  });
}

function lines({ steps, values }: Series): Chart[] {
  return offered(Object.keys(values)).flatMap((name) => {
    const line = values[name];
    if (line === undefined || line.every((value) => value === null)) {
      return [];
    }
    const low = values[`${name}_low`];
    const high = values[`${name}_high`];
    const band = low === undefined || high === undefined ? {} : { low, high };
    return [{ name, title: title(name), steps, values: line, ...band }];
  });
}

function rank(name: string): number {
  const place = FIRST.indexOf(name);
  return place === -1 ? FIRST.length : place;
}

/** Undefined for what is no table. */
export function rowStates({ series, values, shape }: LayerSeries): RowStates | undefined {
  const rows = values["rows"] ?? shape[0];
  const seen = series.values["seen_rows"];
  if (rows === undefined || seen === undefined) {
    return undefined;
  }
  const of = (name: string, index: number): number => series.values[name]?.[index] ?? 0;
  const parts: Record<string, number[]> = { healthy: [], zombie: [], rare: [], unseen: [], dead: [] };
  series.steps.forEach((_, index) => {
    const counted = seen[index] ?? 0;
    const zombie = of("zombie_rows", index);
    const rare = Math.min(of("unknown_rows", index), Math.max(0, counted - zombie));
    // An estimate, which may exceed what is left.
    const unseen = Math.max(0, rows - counted);
    const dead = Math.min(of("dead_rows", index), unseen);
    parts["healthy"]?.push(Math.max(0, counted - zombie - rare));
    parts["zombie"]?.push(zombie);
    parts["rare"]?.push(rare);
    parts["unseen"]?.push(unseen - dead);
    parts["dead"]?.push(dead);
  });
  return {
    steps: series.steps,
    states: Object.entries(parts).map(([name, counts]) => ({ name, rows: counts })),
  };
}

/** A number as people read it: four digits, grouped thousands, powers of ten at the ends. */
export function inWords(value: number | null | undefined): string {
  if (value === null || value === undefined) {
    return "none";
  }
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e7)) {
    return value.toExponential(2);
  }
  return value.toLocaleString("en", { maximumSignificantDigits: Number.isInteger(value) ? 9 : 4 });
}
