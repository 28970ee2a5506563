// What the extension and the inspector's page tell each other.
import type { LayerSeries, RunDetail, StatisticSeries } from "../run_types";

export type ToPage =
  | { readonly kind: "run"; readonly title: string; readonly run: RunDetail }
  | { readonly kind: "gone" }
  | { readonly kind: "statistic"; readonly series: StatisticSeries }
  | { readonly kind: "layer"; readonly series: LayerSeries }
  | { readonly kind: "select"; readonly layer: string };

export type FromPage =
  | { readonly kind: "ready" }
  | { readonly kind: "selected"; readonly layer: string }
  | { readonly kind: "statistic"; readonly statistic: string }
  | { readonly kind: "definition"; readonly layer: string }
  | { readonly kind: "apply-recipe" }
  | { readonly kind: "save"; readonly name: string; readonly base64: string };
