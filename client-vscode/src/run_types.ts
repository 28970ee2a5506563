// What the server tells of runs: "Server and editor" in schemas/PROTOCOL.md.

export type RunStatus = "live" | "finished" | "interrupted" | "failed" | "vanished" | "unreadable";
export type Health = "healthy" | "unknown" | "information" | "warning" | "error";

export interface RunSummary {
  readonly folder: string;
  readonly id: string;
  readonly script: string;
  readonly arguments: readonly string[];
  readonly status: RunStatus;
  readonly outcome: string;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  readonly step: number;
  readonly totalSteps: number | null;
  readonly stepsPerSecond: number | null;
  readonly loss: number | null;
  readonly following: boolean;
  readonly revision: number;
}

export interface LayerSummary {
  readonly name: string;
  readonly kind: string;
  readonly trainable: boolean;
  readonly health: Health;
  readonly values?: Readonly<Record<string, number>>;
}

export interface DiagnosisSummary {
  readonly id: string;
  readonly type: string;
  readonly title: string;
  readonly layer: string;
  readonly severity: "error" | "warning" | "information";
  readonly confidence: string;
  readonly premise: string;
  readonly action: string;
}

export interface RecipeLayer {
  readonly name: string;
  /** How it is stored, in words. */
  readonly form: string;
  readonly before: number | null;
  readonly after: number | null;
  /** Share of the quality lost by this layer alone. */
  readonly measured: number | null;
}

export interface RecipeSummary {
  readonly metric: string;
  readonly measured: boolean;
  readonly bytesBefore: number | null;
  readonly bytesAfter: number | null;
  readonly qualityBefore: number | null;
  readonly qualityAfter: number | null;
  readonly floor: number | null;
  readonly floorHeld: boolean | null;
  readonly path: string;
  /** Those that it makes smaller. */
  readonly layers: readonly RecipeLayer[];
  readonly front: readonly {
    readonly bytes: number;
    readonly quality: number | null;
    readonly predictedDamage: number | null;
  }[];
}

export interface RunDetail extends RunSummary {
  readonly recipe: RecipeSummary | null;
  readonly layers: readonly LayerSummary[];
  readonly diagnoses: readonly DiagnosisSummary[];
  readonly faults: readonly { readonly layer: string; readonly message: string }[];
  readonly versions: Readonly<Record<string, string>>;
}

/** One value for each step, null where the step had none. */
export interface Series {
  readonly steps: readonly number[];
  readonly values: Readonly<Record<string, readonly (number | null)[]>>;
}

export interface LayerSeries {
  readonly layer: string;
  readonly kind: string;
  readonly step: number | null;
  readonly values: Readonly<Record<string, number>>;
  readonly curves: Readonly<Record<string, readonly number[]>>;
  readonly shape: readonly number[];
  readonly series: Series;
  readonly learning: Series;
}

/** Steps and values of one statistic, by layer. */
export interface StatisticSeries {
  readonly statistic: string;
  readonly layers: Readonly<Record<string, readonly [readonly number[], readonly number[]]>>;
}
