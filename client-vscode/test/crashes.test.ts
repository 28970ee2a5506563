import assert from "node:assert/strict";
import test from "node:test";

import { Crashes, MOST_CRASHES, WINDOW_MS } from "../src/crashes";

test("a server that keeps dying is given up at the fifth crash", () => {
  const crashes = new Crashes();
  const answers = Array.from({ length: MOST_CRASHES }, (_, second) => crashes.record(second * 1000));
  assert.deepEqual(answers, ["restart", "restart", "restart", "restart", "stop"]);
});

test("a crash now and then never ends in giving up", () => {
  const crashes = new Crashes();
  for (let i = 0; i < 50; i += 1) {
    assert.equal(crashes.record(i * (WINDOW_MS / (MOST_CRASHES - 1)) * 1.01), "restart");
  }
});

test("a fresh start forgets the crashes before it", () => {
  const crashes = new Crashes();
  for (let i = 0; i < MOST_CRASHES; i += 1) {
    crashes.record(i);
  }
  crashes.forget();
  assert.equal(crashes.record(MOST_CRASHES), "restart");
});
