// A run as plain text, one figure a line, so that the editor's own diff compares two of them.
import type { RunDetail } from "./run_types";

/** Layers and figures in a fixed order: what is equal stands on equal lines. */
export function runText(run: RunDetail): string {
  const lines = [
    `script     ${[run.script, ...run.arguments].join(" ")}`,
    `outcome    ${run.outcome}`,
    `loss       ${run.loss ?? "not told"}`,
    ...Object.entries(run.versions).map(([name, version]) => `${name.padEnd(10)} ${version}`),
    "",
    "diagnoses",
    ...run.diagnoses.map(({ layer, type }) => `  ${layer}: ${type}`).sort(),
  ];
  for (const layer of [...run.layers].sort((one, other) => (one.name < other.name ? -1 : 1))) {
    lines.push("", `${layer.name}: ${layer.kind}`);
    for (const [name, value] of Object.entries(layer.values ?? {}).sort()) {
      lines.push(`  ${name.padEnd(24)} ${figure(value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Four digits: below that two runs of one script always differ. */
function figure(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}
