import assert from "node:assert/strict";
import test from "node:test";

import { runText } from "../src/run_text";
import type { LayerSummary, RunDetail } from "../src/run_types";

const layer = (name: string, values: Record<string, number>): LayerSummary => ({
  name,
  kind: "Embedding 10 × 4",
  trainable: true,
  health: "healthy",
  values,
});

const run: RunDetail = {
  folder: "file:///p/.gradtracer/runs/a",
  id: "a",
  script: "train.py",
  arguments: ["--dim", "4"],
  status: "finished",
  outcome: "finished at step 10.",
  startedAt: 1,
  endedAt: 2,
  step: 10,
  totalSteps: 10,
  stepsPerSecond: null,
  loss: 0.5,
  following: true,
  revision: 1,
  layers: [layer("b", { rank: 2.000_01, gini: 0.3 }), layer("a", { rank: 3 })],
  diagnoses: [],
  faults: [],
  recipe: null,
  versions: { torch: "2.13.0" },
};

test("two runs that differ in one figure differ in one line", () => {
  const other = { ...run, layers: [layer("a", { rank: 3 }), layer("b", { gini: 0.4, rank: 2.000_02 })] };
  const [one, two] = [runText(run).split("\n"), runText(other).split("\n")];
  assert.equal(one.length, two.length);
  const differing = one.filter((line, index) => line !== two[index]);
  assert.equal(differing.length, 1);
  assert.match(differing[0] ?? "", /gini +0\.3/);
});

test("a figure stands with its interval, the script without its folder", () => {
  const text = runText({
    ...run,
    script: "/home/me/train.py",
    loss: 0.465_824_9,
    layers: [layer("a", { gini: 0.3, gini_low: 0.25, gini_high: 0.35, shift_low: 1 })],
  });
  assert.match(text, /gini +0\.3 \(0\.25 to 0\.35\)\n/);
  assert.doesNotMatch(text, /gini_low/);
  assert.match(text, /shift_low +1\n/);
  assert.match(text, /^script +train\.py\narguments +--dim 4\n/);
  assert.match(text, /loss +0\.4658\n/);
});
