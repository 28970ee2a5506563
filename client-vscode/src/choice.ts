// Which run a command is about.
import { window } from "vscode";

import type { Requests } from "./requests";
import type { RunSummary } from "./run_types";
import { type Node, runTitle } from "./runs_view";

/** The run of a tree's node, or one that the user picks. */
export function chosen(requests: Requests, node: Node | undefined, question: string): Promise<RunSummary | undefined> {
  return node?.kind === "run" || node?.kind === "layers" ? Promise.resolve(node.run) : pick(requests, question);
}

/** One of the runs that suit; without a question where there is but one. */
export async function pick(
  requests: Requests,
  question: string,
  suits: (run: RunSummary) => boolean = () => true,
  none = "there is no run to choose",
): Promise<RunSummary | undefined> {
  const runs = (await requests.runs()).filter(suits);
  if (runs.length <= 1) {
    if (runs.length === 0) {
      void window.showInformationMessage(`GradTracer: ${none}`);
    }
    return runs[0];
  }
  const items = runs.map((run) => ({ label: runTitle(run), description: run.outcome, run }));
  return (await window.showQuickPick(items, { placeHolder: question }))?.run;
}
