import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";

import { inspect, installCommand, judge, REQUIREMENT } from "../src/installation";

const folder = mkdtempSync(join(tmpdir(), "gradtracer-"));
after(() => rmSync(folder, { recursive: true }));

const good = { python: [3, 12], version: "1.4.0", missing: [], agents: true } as const;

test("a real interpreter answers, and lacks what it lacks", async () => {
  // -S: without installed packages, whatever this machine has.
  const bare = join(folder, "python");
  writeFileSync(bare, '#!/bin/sh\nexec python3 -S "$@"\n', { mode: 0o755 });
  const installation = await inspect(bare, folder);
  assert.equal(installation.python[0], 3);
  assert.ok(installation.missing.includes("gradtracer_server"));
  assert.ok(installation.missing.includes("pygls"));
});

test("what is no Python is named", async () => {
  await assert.rejects(inspect("/bin/false", folder), /\/bin\/false does not run as Python/);
  await assert.rejects(inspect("/bin/echo", folder), /\/bin\/echo does not answer as Python does/);
});

test("a 1.x server with everything is ready, also from a checkout without a version", () => {
  assert.deepEqual(judge(good), { kind: "ready" });
  assert.deepEqual(judge({ ...good, version: "1.0.0.dev0" }), { kind: "ready" });
  assert.deepEqual(judge({ ...good, version: null }), { kind: "ready" });
});

test("each thing that does not fit is said in words", () => {
  const told = (change: Partial<Parameters<typeof judge>[0]>): string => {
    const verdict = judge({ ...good, ...change });
    return verdict.kind === "ready" ? "ready" : `${verdict.kind}: ${verdict.message}`;
  };
  assert.equal(told({ python: [3, 9] }), "python-too-old: GradTracer needs Python 3.11 or later, and this is 3.9");
  assert.equal(told({ version: "0.9.0" }), "too-old: This extension needs gradtracer 1.x, and it is 0.9.0");
  assert.match(told({ version: "2.1.0" }), /^too-new: gradtracer 2.1.0 .* update the extension$/);
  assert.equal(told({ missing: ["pygls", "lsprotocol"] }), "not-installed: GradTracer lacks pygls, lsprotocol");
  assert.equal(told({ version: null, missing: ["gradtracer_server", "pygls"] }), "not-installed: GradTracer is not installed");
});

test("the command can be pasted as it is", () => {
  assert.equal(installCommand("/opt/env/bin/python"), `/opt/env/bin/python -m pip install --upgrade "${REQUIREMENT}"`);
  assert.match(installCommand("/My Models/python"), /^"\/My Models\/python" -m pip/);
});
