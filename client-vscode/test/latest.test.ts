import assert from "node:assert/strict";
import test from "node:test";

import { Latest } from "../src/latest";

/** A task that ends when it is told to. */
class Task {
  runs = 0;
  most = 0;
  private active = 0;
  private ends: (() => void)[] = [];

  readonly run = async (): Promise<void> => {
    this.runs += 1;
    this.active += 1;
    this.most = Math.max(this.most, this.active);
    await new Promise<void>((resolve) => this.ends.push(resolve));
    this.active -= 1;
  };

  end(): void {
    this.ends.shift()?.();
  }
}

test("requests during a run become one run after it", async () => {
  const task = new Task();
  const latest = new Latest(task.run);
  const first = latest.request();
  const later = [latest.request(), latest.request(), latest.request()];
  assert.equal(task.runs, 1);
  task.end();
  await first;
  await new Promise(setImmediate);
  assert.equal(task.runs, 2);
  task.end();
  await Promise.all(later);
  assert.equal(task.runs, 2);
  assert.equal(task.most, 1);
});

test("a run that fails does not stop the next", async () => {
  let runs = 0;
  const latest = new Latest(async () => {
    runs += 1;
    if (runs === 1) {
      throw new Error("the first");
    }
  });
  const first = latest.request();
  const second = latest.request();
  await assert.rejects(first, /the first/);
  await second;
  assert.equal(runs, 2);
});
