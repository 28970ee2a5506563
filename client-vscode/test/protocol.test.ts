import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import type { Event, EventKind } from "../src/protocol";
import { PROTOCOL_VERSION } from "../src/protocol";

const examples = join(__dirname, "..", "..", "..", "schemas", "examples");

/** One line per event. Does not compile when a kind is added and not named here. */
function summary(event: Event): string {
  switch (event.kind) {
    case "run_started":
      return `${event.body.script} on ${event.body.host}`;
    case "layer_watched":
    case "observation":
    case "intervention":
      return event.body.layer;
    case "progress":
      return `step ${event.body.step}`;
    case "diagnosis_raised":
    case "diagnosis_updated":
      return event.body.premise;
    case "diagnosis_cleared":
      return event.body.reason;
    case "recipe":
      return Object.keys(event.body.layers).join(", ");
    case "control":
      return event.body.request;
    case "probe_fault":
      return event.body.message;
    case "run_ended":
      return event.body.outcome;
    default:
      return unnamed(event);
  }
}

function unnamed(event: never): never {
  throw new Error(`no summary for ${JSON.stringify(event)}`);
}

for (const file of readdirSync(examples).filter((name) => name !== "connection.json")) {
  test(`${file} reads as the kind of its name`, () => {
    const event = JSON.parse(readFileSync(join(examples, file), "utf-8")) as Event;
    const kind: EventKind = event.kind;
    assert.equal(`${kind}.json`, file);
    assert.equal(event.protocol, PROTOCOL_VERSION);
    assert.notEqual(summary(event), "");
  });
}
