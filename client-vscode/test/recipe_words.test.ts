import assert from "node:assert/strict";
import test from "node:test";

import { frontOf, megabytes, recipeWords } from "../src/inspector/page/recipe_words";
import type { RecipeSummary } from "../src/run_types";

const recipe: RecipeSummary = {
  metric: "NDCG@10",
  measured: true,
  bytesBefore: 25_600_000,
  bytesAfter: 3_600_000,
  qualityBefore: 0.1,
  qualityAfter: 0.09995,
  floor: 0.995,
  floorHeld: true,
  path: "gradtracer_recipe.json",
  layers: [],
  front: [
    { bytes: 3_600_000, quality: 0.09995, predictedDamage: 0.01 },
    { bytes: 1_000_000, quality: 0.08, predictedDamage: 0.2 },
  ],
};

test("a recipe says what it saves and what was measured", () => {
  assert.equal(recipeWords(recipe), "25.60 MB to 3.60 MB. NDCG@10 -0.05 % measured, the floor of 0.995 held.");
  assert.match(recipeWords({ ...recipe, floorHeld: false }), /not held\.$/);
});

test("a prediction does not pass for a measurement", () => {
  const words = recipeWords({ ...recipe, measured: false });
  assert.equal(words, "25.60 MB to 3.60 MB. NDCG@10 was not measured: damage is predicted only.");
});

test("the front goes from small to large, by what was measured", () => {
  const front = frontOf(recipe);
  assert.deepEqual(front?.bytes, [1_000_000, 3_600_000]);
  assert.deepEqual(front?.values, [0.08, 0.09995]);
  assert.match(front?.words ?? "", /NDCG@10: 2 recipes from 1\.00 MB to 3\.60 MB/);
});

test("without measurements the predicted damage is drawn, and of one point nothing", () => {
  const predicted = recipe.front.map((each) => ({ ...each, quality: null }));
  assert.deepEqual(frontOf({ ...recipe, front: predicted })?.values, [0.2, 0.01]);
  assert.equal(frontOf({ ...recipe, front: recipe.front.slice(1) }), undefined);
});

test("sizes have units that fit", () => {
  assert.deepEqual([megabytes(2e6), megabytes(1500)], ["2.00 MB", "1.5 KB"]);
});
