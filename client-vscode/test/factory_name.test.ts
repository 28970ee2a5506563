import assert from "node:assert/strict";
import test from "node:test";

import { isFactory } from "../src/factory_name";

test("a function is named by its module, a colon and its name", () => {
  for (const name of ["mf:build", "recommender.models:build_mf", "_a.b2:C"]) {
    assert.ok(isFactory(name), name);
  }
  for (const name of ["", "mf", "mf:", ":build", "mf.build", "mf:build()", "a b:c", "../mf:build", "1m:f", "m:a:b"]) {
    assert.ok(!isFactory(name), name);
  }
});
