// What is asked of a training that goes on, and what is written into the script by a run's recipe.
import { commands, type Range, type TextDocument, window, workspace } from "vscode";

import { pick } from "./choice";
import type { Requests } from "./requests";
import type { RunSummary } from "./run_types";
import { type Node, runTitle } from "./runs_view";
import { showText } from "./show_text";

const RECIPE_FINDING = "COMPRESSIBLE";

/** Ask the training itself: nothing is edited, and its audit tells of it. */
export async function setAutoFix(requests: Requests, node?: Node): Promise<void> {
  const live = (run: RunSummary): boolean => run.status === "live";
  const question = "Change auto-fix of which run?";
  const run = node?.kind === "run" ? node.run : await pick(requests, question, live, "no training is running here");
  if (run === undefined) {
    return;
  }
  const items = [
    { label: "Turn auto-fix on", detail: "Updates of rows that move and get nowhere are shrunk.", enabled: true },
    { label: "Turn auto-fix off", detail: "Updates are again as the optimizer makes them.", enabled: false },
  ];
  const title = `${runTitle(run)}: from the next step on, without a restart`;
  const picked = await window.showQuickPick(items, { title });
  if (picked !== undefined) {
    const answer = await ask<{ accepted: boolean }>("gradtracer.setAutoFix", run.id, picked.enabled);
    const show = answer.accepted === true ? window.showInformationMessage : window.showWarningMessage;
    void show(`GradTracer: ${answer.reason}`);
  }
}

/** Write the recipe of a run, or of a finding of one, into the script, and show where. */
export async function applyRecipe(requests: Requests, node?: Node): Promise<void> {
  if (node?.kind === "diagnosis") {
    await apply(node.diagnosis.id);
    return;
  }
  const run = node?.kind === "run" ? node.run : await pick(requests, "Apply the recipe of which run?");
  if (run !== undefined) {
    await applyRecipeOf(requests, run.folder);
  }
}

/** The same of a run by its folder. */
export async function applyRecipeOf(requests: Requests, folder: string): Promise<void> {
  const finding = (await requests.run(folder))?.diagnoses.find(({ type }) => type === RECIPE_FINDING);
  if (finding === undefined) {
    // Only a recipe whose quality was measured, and that held its floor, is proposed.
    void window.showInformationMessage("GradTracer: this run found no recipe that surely keeps the quality");
    return;
  }
  await apply(finding.id);
}

async function apply(diagnosis: string): Promise<void> {
  let changed: { document: TextDocument; range: Range } | undefined;
  const listening = workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
    // The last of them stands where the model is done; an import may come before it.
    const range = contentChanges.map((each) => each.range).sort((one, other) => other.start.compareTo(one.start))[0];
    changed = range === undefined ? changed : { document, range };
  });
  const answer = await ask<{ applied: boolean }>("gradtracer.applyFix", diagnosis, "apply-recipe");
  listening.dispose();
  if (answer.applied !== true) {
    void window.showWarningMessage(`GradTracer: ${answer.reason}`);
  } else if (changed !== undefined) {
    const { document, range } = changed;
    await showText(document.uri, range.with({ end: range.start }));
  }
}

/** A command of the server's; a reason where there is no server to ask. */
async function ask<T extends object>(command: string, ...args: unknown[]): Promise<Partial<T> & { reason: string }> {
  try {
    return await commands.executeCommand(command, ...args);
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) } as Partial<T> & { reason: string };
  }
}
