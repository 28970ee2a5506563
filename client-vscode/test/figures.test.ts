import assert from "node:assert/strict";
import test from "node:test";

import { charts, inWords, offered, rowStates, title } from "../src/inspector/page/figures";
import type { LayerSeries } from "../src/run_types";

const table: LayerSeries = {
  layer: "item_emb",
  kind: "Embedding 100 × 8",
  step: 20,
  values: {},
  curves: {},
  shape: [100, 8],
  series: {
    steps: [10, 20],
    values: {
      seen_rows: [60, 80],
      zombie_rows: [null, 5],
      unknown_rows: [60, 70],
      dead_rows: [50, 15],
      effective_rank: [3, 2],
      effective_rank_low: [2.5, 1.5],
      effective_rank_high: [3.5, 2.5],
      gini: [null, null],
    },
  },
  learning: { steps: [5, 15], values: { loss: [0.7, 0.6], ndcg: [0.1, null] } },
};

test("the states of each step add up to the rows of the table", () => {
  const told = rowStates(table);
  const at = (index: number): Record<string, number> =>
    Object.fromEntries(told?.states.map(({ name, rows }) => [name, rows[index] ?? Number.NaN]) ?? []);
  assert.deepEqual(at(0), { healthy: 0, zombie: 0, rare: 60, unseen: 0, dead: 40 });
  assert.deepEqual(at(1), { healthy: 5, zombie: 5, rare: 70, unseen: 5, dead: 15 });
});

test("what is no table has no states", () => {
  const linear = { ...table, series: { steps: [1], values: { grad_norm: [0.5] } } };
  assert.equal(rowStates(linear), undefined);
});

test("intervals belong to their statistic, empty lines are left out, loss comes first", () => {
  const drawn = charts(table);
  assert.equal(drawn[0]?.name, "loss");
  const rank = drawn.find(({ name }) => name === "effective_rank");
  assert.deepEqual([rank?.low, rank?.high], [[2.5, 1.5], [3.5, 2.5]]);
  const names = drawn.map(({ name }) => name);
  assert.ok(names.includes("ndcg"));
  assert.ok(!names.includes("gini") && !names.includes("effective_rank_low"));
});

test("a booster's curves are lines over its rounds, and come first", () => {
  const booster: LayerSeries = {
    ...table,
    kind: "Booster",
    shape: [],
    values: { rounds: 101, best_round: 40, validation: 0.3 },
    curves: { leaf_velocity: [1, 0.5, 0.1], validation: [0.9, 0.2, 0.3], effective_features: [4, 3], lorenz: [0, 1] },
    series: { steps: [50, 101], values: { validation: [0.25, 0.3], rounds: [50, 101], split_gini: [0.4, 0.5] } },
    learning: { steps: [], values: {} },
  };
  const drawn = charts(booster);
  assert.deepEqual(drawn.map(({ name }) => name), ["validation", "leaf_velocity", "effective_features", "split_gini"]);
  assert.deepEqual(drawn[0]?.steps, [1, 51, 101]);
  assert.equal(drawn[0]?.best, 40);
  assert.deepEqual(drawn[2]?.steps, [51, 101]);
});

test("a layer that is no booster has no rounds", () => {
  assert.ok(!charts({ ...table, curves: { validation: [1, 2] } }).some(({ name }) => name === "validation"));
});

test("a statistic that nobody knew is offered under words of its own", () => {
  assert.deepEqual(offered(["rows", "leaf_growth", "gini_low", "effective_rank"]), ["effective_rank", "leaf_growth"]);
  assert.equal(title("leaf_growth"), "Leaf growth");
});

test("numbers are short, and extremes are powers of ten", () => {
  assert.equal(inWords(0.123456), "0.1235");
  assert.equal(inWords(1682), "1,682");
  assert.equal(inWords(4.05e-8), "4.05e-8");
  assert.equal(inWords(null), "none");
});
