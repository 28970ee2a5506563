// What one can do with a run: look at it, compare it, stop following it, delete it, start one.
import {
  commands,
  ConfigurationTarget,
  type Disposable,
  ProcessExecution,
  Range,
  Task,
  TaskScope,
  tasks,
  type TextDocumentContentProvider,
  type TextEditor,
  Uri,
  window,
  workspace,
} from "vscode";

import { applyRecipe, setAutoFix } from "./changes";
import { chosen, pick } from "./choice";
import type { Inspector } from "./inspector/panel";
import type { Requests } from "./requests";
import { runText } from "./run_text";
import type { RunSummary } from "./run_types";
import { type Node, runTitle } from "./runs_view";
import type { Server } from "./server";
import { showText } from "./show_text";

const SCHEME = "gradtracer-run";
const RUN_FOLDER = /\/\.gradtracer\/runs\/[^/]+\/?$/;

export function registerRunCommands(server: Server, requests: Requests, inspector: Inspector): Disposable[] {
  const texts: TextDocumentContentProvider = {
    async provideTextDocumentContent(uri: Uri): Promise<string> {
      const run = await requests.run(uri.query, true);
      return run === null ? "This run is gone.\n" : runText(run);
    },
  };
  return [
    workspace.registerTextDocumentContentProvider(SCHEME, texts),
    commands.registerCommand("gradtracer.openInspector", (node?: Node) => openInspector(requests, inspector, node)),
    commands.registerCommand("gradtracer.goToDefinition", (node?: Node) => goToDefinition(requests, node)),
    commands.registerCommand("gradtracer.compareRuns", (node?: Node, all?: readonly Node[]) =>
      compare(requests, node, all),
    ),
    commands.registerCommand("gradtracer.runs.stopFollowing", (node?: Node) => follow(requests, node, false)),
    commands.registerCommand("gradtracer.runs.follow", (node?: Node) => follow(requests, node, true)),
    commands.registerCommand("gradtracer.runs.setAutoFix", (node?: Node) => setAutoFix(requests, node)),
    commands.registerCommand("gradtracer.applyRecipe", (node?: Node) => applyRecipe(requests, node)),
    commands.registerCommand("gradtracer.runs.openReport", (node?: Node) => openReport(node)),
    commands.registerCommand("gradtracer.toggleHints", toggleHints),
    commands.registerCommand("gradtracer.deleteRun", (node?: Node) => deleteRun(requests, node)),
    commands.registerCommand("gradtracer.runScript", (uri?: Uri) => runScript(server, uri, false)),
    commands.registerCommand("gradtracer.runScriptWithArguments", (uri?: Uri) => runScript(server, uri, true)),
    commands.registerTextEditorCommand("gradtracer.applyAllFixes", (editor: TextEditor) => applyAllFixes(editor)),
  ];
}

async function openInspector(requests: Requests, inspector: Inspector, node?: Node): Promise<void> {
  if (node !== undefined && node.kind !== "note" && node.kind !== "run" && node.kind !== "layers") {
    const layer = node.kind === "layer" ? node.layer.name : node.diagnosis.layer;
    await inspector.open(node.folder, layer);
    return;
  }
  const run = await chosen(requests, node, "Inspect which run?");
  if (run !== undefined) {
    await inspector.open(run.folder);
  }
}

async function goToDefinition(requests: Requests, node?: Node): Promise<void> {
  if (node?.kind !== "layer" && node?.kind !== "diagnosis") {
    return;
  }
  const layer = node.kind === "layer" ? node.layer.name : node.diagnosis.layer;
  await showDefinition(requests, node.folder, layer);
}

/** Put the cursor on the statement that defines a layer. */
export async function showDefinition(requests: Requests, folder: string, layer: string): Promise<void> {
  const place = await requests.place(folder, layer);
  if (place === null) {
    await window.showInformationMessage(`GradTracer: no file of this workspace defines ${layer}`);
    return;
  }
  const { start, end } = place.range;
  const selection = new Range(start.line, start.character, end.line, end.character);
  await showText(Uri.parse(place.uri), selection);
}

/** A document of the server's, shown as the editor shows Markdown. */
async function openReport(node?: Node): Promise<void> {
  if (node === undefined) {
    // Its row was drawn anew between the menu and the choice.
    await window.showInformationMessage("GradTracer: the run has changed meanwhile; choose Open Report again");
    return;
  }
  if (node.kind !== "layer" && node.kind !== "diagnosis") {
    return;
  }
  const layer = node.kind === "layer" ? node.layer.name : node.diagnosis.layer;
  const id = runId(node.folder);
  const uri = Uri.parse(`gradtracer:/report/${encodeURIComponent(id)}/${encodeURIComponent(layer)}.md`);
  try {
    await commands.executeCommand("markdown.showPreview", uri);
  } catch {
    // The editor's own Markdown may be turned off: then as a text.
    await commands.executeCommand("gradtracer.openReport", layer, id);
  }
}

function runId(folder: string): string {
  return Uri.parse(folder).path.split("/").filter(Boolean).at(-1) ?? "";
}

/** The user's own setting: the project's may have turned them off for all. */
async function toggleHints(): Promise<void> {
  const settings = workspace.getConfiguration("gradtracer");
  const shown = settings.get("inlayHintFigures", true);
  await settings.update("inlayHintFigures", !shown, ConfigurationTarget.Global);
}

async function compare(requests: Requests, node?: Node, all?: readonly Node[]): Promise<void> {
  const picked = (all ?? []).filter((each) => each.kind === "run").map((each) => each.run);
  const first = picked[0] ?? (await chosen(requests, node, "Compare which run?"));
  const other = ({ folder }: RunSummary): boolean => folder !== first?.folder;
  const second = picked[1] ?? (first && (await pick(requests, `Compare ${runTitle(first)} with which run?`, other)));
  if (first === undefined || second === undefined) {
    return;
  }
  const [older, newer] = [first, second].sort((one, other) => (one.startedAt ?? 0) - (other.startedAt ?? 0));
  if (older !== undefined && newer !== undefined) {
    const title = `${runTitle(older)} and ${runTitle(newer)}`;
    await commands.executeCommand("vscode.diff", textUri(older), textUri(newer), title);
  }
}

function textUri(run: RunSummary): Uri {
  return Uri.from({ scheme: SCHEME, path: `/${run.id}.txt`, query: run.folder });
}

async function follow(requests: Requests, node: Node | undefined, wanted: boolean): Promise<void> {
  const question = wanted ? "Follow which run again?" : "Stop following which run?";
  const run = await chosen(requests, node, question);
  if (run !== undefined) {
    await requests.follow(run.folder, wanted);
  }
}

async function deleteRun(requests: Requests, node?: Node): Promise<void> {
  const run = await chosen(requests, node, "Delete which run?");
  if (run === undefined) {
    return;
  }
  const folder = Uri.parse(run.folder);
  if (run.status === "live") {
    await window.showInformationMessage("GradTracer: this run is live. End the training first.");
    return;
  }
  if (!RUN_FOLDER.test(folder.path)) {
    return;
  }
  const asked = `Delete the run ${runTitle(run)}? Its journal is gone for good.`;
  if ((await window.showWarningMessage(asked, { modal: true }, "Delete")) === "Delete") {
    await workspace.fs.delete(folder, { recursive: true });
  }
}

async function runScript(server: Server, uri: Uri | undefined, ask: boolean): Promise<void> {
  const script = uri ?? window.activeTextEditor?.document.uri;
  const { state } = server;
  if (script === undefined || script.scheme !== "file") {
    await window.showInformationMessage("GradTracer: open the script to run");
    return;
  }
  if (state.kind !== "running") {
    await window.showInformationMessage("GradTracer: the server does not run, and its Python is the one to use");
    return;
  }
  const typed = ask ? await window.showInputBox({ prompt: "Arguments of the script" }) : "";
  if (typed === undefined) {
    return;
  }
  await workspace.save(script);
  const folder = workspace.getWorkspaceFolder(script);
  const words = [...typed.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((word) => word[1] ?? word[2] ?? word[3] ?? "");
  const program = new ProcessExecution(state.interpreter.path, ["-m", "gradtracer", script.fsPath, ...words], {
    ...(folder === undefined ? {} : { cwd: folder.uri.fsPath }),
  });
  const name = script.path.split("/").at(-1) ?? "script";
  const task = new Task({ type: "gradtracer", script: name }, folder ?? TaskScope.Workspace, name, "GradTracer", program);
  await tasks.executeTask(task);
}

async function applyAllFixes(editor: TextEditor): Promise<void> {
  const before = editor.document.version;
  await commands.executeCommand("editor.action.codeAction", { kind: "source.fixAll.gradtracer", apply: "first" });
  if (editor.document.version === before) {
    window.setStatusBarMessage("GradTracer: no safe fix for this file", 5000);
  }
}
