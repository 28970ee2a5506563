// A recipe in words and numbers. Knows no page.
import type { RecipeSummary } from "../../run_types";

/** The recipes that no other beats, as a line to draw. */
export interface Front {
  readonly bytes: readonly number[];
  readonly values: readonly number[];
  readonly words: string;
}

/** `25.60 MB`, `12.3 KB`. */
export function megabytes(bytes: number): string {
  return bytes >= 1e5 ? `${(bytes / 1e6).toFixed(2)} MB` : `${(bytes / 1e3).toFixed(1)} KB`;
}

/** The size before and after, and whether the quality was measured. */
export function recipeWords(recipe: RecipeSummary): string {
  const { bytesBefore, bytesAfter, qualityBefore, qualityAfter, floor, floorHeld } = recipe;
  const sizes =
    bytesBefore === null || bytesAfter === null ? "" : `${megabytes(bytesBefore)} to ${megabytes(bytesAfter)}. `;
  const metric = recipe.metric === "" ? "Quality" : recipe.metric;
  if (!recipe.measured || qualityBefore === null || qualityAfter === null || qualityBefore === 0) {
    return `${sizes}${metric} was not measured: damage is predicted only.`;
  }
  const change = 100 * (qualityAfter / qualityBefore - 1);
  const held = floor === null ? "" : `, the floor of ${floor} ${floorHeld === true ? "held" : "not held"}`;
  return `${sizes}${metric} ${change >= 0 ? "+" : ""}${change.toFixed(2)} % measured${held}.`;
}

/** Bytes against the metric where it was measured, else against the predicted damage. */
export function frontOf({ front, metric }: RecipeSummary): Front | undefined {
  const measured = front.filter(({ quality }) => quality !== null);
  const points =
    measured.length > 1
      ? measured.map(({ bytes, quality }) => [bytes, quality ?? 0] as const)
      : front.map(({ bytes, predictedDamage }) => [bytes, predictedDamage ?? 0] as const);
  if (points.length < 2) {
    return undefined;
  }
  const sorted = [...points].sort(([one], [other]) => one - other);
  const of = measured.length > 1 ? metric || "quality" : "predicted damage";
  const sizes = `${megabytes(sorted[0]?.[0] ?? 0)} to ${megabytes(sorted.at(-1)?.[0] ?? 0)}`;
  return {
    bytes: sorted.map(([bytes]) => bytes),
    values: sorted.map(([, value]) => value),
    words: `Size against ${of}: ${sorted.length} recipes from ${sizes}.`,
  };
}
