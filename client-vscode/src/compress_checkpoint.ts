// A saved checkpoint made smaller by a recipe: what to ask for, and what came of it.
import { commands, type Memento, ProgressLocation, Uri, window, workspace } from "vscode";

import { FACTORY, isFactory } from "./factory_name";

const CHECKPOINTS = "**/*.{pt,pth,ckpt,safetensors}";
const RECIPES = "**/*recipe*.json";
const PASSED_OVER = "**/{node_modules,.venv,venv,site-packages}/**";
const MOST = 200;

interface Answer {
  readonly done?: boolean;
  readonly reason: string;
  readonly output?: string;
}

/** Ask which file, which recipe and what builds the model, and let the server do it. */
export async function compressCheckpoint(memory: Memento, uri?: Uri): Promise<void> {
  const checkpoint = uri ?? (await pickFile(CHECKPOINTS, "Compress which checkpoint?", "no checkpoint"));
  if (checkpoint === undefined) {
    return;
  }
  const recipe = await pickFile(RECIPES, "By which recipe?", "no recipe");
  if (recipe === undefined) {
    return;
  }
  const model = await askFunction(memory, "model", "What builds the model as it was trained");
  if (model === undefined || model === "") {
    return;
  }
  const evaluate = await askFunction(memory, "evaluate", "What measures its quality; empty: it is not measured");
  if (evaluate === undefined) {
    return;
  }
  const name = checkpoint.path.split("/").at(-1) ?? "";
  const folder = workspace.getWorkspaceFolder(checkpoint)?.uri.fsPath ?? "";
  const request = { checkpoint: checkpoint.fsPath, recipe: recipe.fsPath, model, evaluate, folder };
  const title = `GradTracer: compressing ${name}`;
  const answer = await window.withProgress({ location: ProgressLocation.Notification, title }, () => ask(request));
  await tell(answer);
}

async function tell(answer: Answer): Promise<void> {
  if (answer.done !== true) {
    await window.showErrorMessage(`GradTracer: ${answer.reason}`);
    return;
  }
  const output = answer.output ?? "";
  const said = answer.reason.replace(output, workspace.asRelativePath(output));
  const chosen = await window.showInformationMessage(`GradTracer: ${said}`, "Show the File");
  if (chosen !== undefined) {
    await commands.executeCommand("revealInExplorer", Uri.file(output));
  }
}

/** One of the workspace's files; without a question where there is but one. */
async function pickFile(pattern: string, question: string, none: string): Promise<Uri | undefined> {
  const found = await workspace.findFiles(pattern, PASSED_OVER, MOST);
  if (found.length <= 1) {
    if (found.length === 0) {
      void window.showInformationMessage(`GradTracer: ${none} (${pattern}) in this workspace`);
    }
    return found[0];
  }
  const items = found
    .map((file) => ({ label: workspace.asRelativePath(file), file }))
    .sort((one, other) => one.label.localeCompare(other.label));
  return (await window.showQuickPick(items, { placeHolder: question }))?.file;
}

/** `module:function`, what was last answered in this workspace offered again. */
async function askFunction(memory: Memento, what: "model" | "evaluate", prompt: string): Promise<string | undefined> {
  const key = `compressCheckpoint.${what}`;
  const typed = await window.showInputBox({
    prompt: `${prompt}: ${FACTORY}`,
    value: memory.get(key, ""),
    ignoreFocusOut: true,
    validateInput: (text) => (isFactory(text) || (what === "evaluate" && text === "") ? null : `Expected ${FACTORY}`),
  });
  if (typed !== undefined) {
    await memory.update(key, typed);
  }
  return typed;
}

async function ask(request: object): Promise<Answer> {
  try {
    return await commands.executeCommand<Answer>("gradtracer.compressCheckpoint", request);
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}
