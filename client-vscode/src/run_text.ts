// A run as plain text, one figure a line, so that the editor's own diff compares two of them.
import type { RunDetail } from "./run_types";

/** Layers and figures in a fixed order: what is equal stands on equal lines. */
export function runText(run: RunDetail): string {
  const lines = [
    `script     ${run.script.split(/[\\/]/).at(-1)}`,
    `arguments  ${run.arguments.length === 0 ? "none" : run.arguments.join(" ")}`,
    `outcome    ${run.outcome}`,
    `loss       ${run.loss === null ? "not told" : figure(run.loss)}`,
    ...Object.entries(run.versions).map(([name, version]) => `${name.padEnd(10)} ${version}`),
    "",
    "diagnoses",
    ...run.diagnoses.map(({ layer, type }) => `  ${layer}: ${type}`).sort(),
  ];
  for (const layer of [...run.layers].sort((one, other) => (one.name < other.name ? -1 : 1))) {
    lines.push("", `${layer.name}: ${layer.kind}`);
    const values = layer.values ?? {};
    for (const [name, value] of Object.entries(values).sort()) {
      const low = values[`${name}_low`];
      const high = values[`${name}_high`];
      const interval = low === undefined || high === undefined ? "" : ` (${figure(low)} to ${figure(high)})`;
      // The ends of an interval stand beside what they are of.
      if (!/_(low|high)$/.test(name) || values[name.replace(/_(low|high)$/, "")] === undefined) {
        lines.push(`  ${name.padEnd(24)} ${figure(value)}${interval}`);
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Four digits: below that two runs of one script always differ. */
function figure(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}
