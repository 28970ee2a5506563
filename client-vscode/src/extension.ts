// Puts the parts together. Nothing here waits for the server: the editor must not.
import { commands, type ExtensionContext, type Uri, window, workspace } from "vscode";

import { compressCheckpoint } from "./compress_checkpoint";
import { showDebugInformation } from "./debug_information";
import { install, offerInstallation } from "./install";
import { Inspector } from "./inspector/panel";
import { registerMcp } from "./mcp";
import { followSelection, pythonExtensionPresent } from "./python_extension";
import { Requests, RUNS_CHANGED } from "./requests";
import { registerRunCommands } from "./run_commands";
import { RunsTree } from "./runs_view";
import { Server, type ServerState } from "./server";
import { SECTION } from "./settings";
import { createStatusItem, showState } from "./status";

const TREE_MS = 1000;

let server: Server | undefined;

export function activate(context: ExtensionContext): void {
  const began = performance.now();
  const log = window.createOutputChannel("GradTracer", { log: true });
  const trace = window.createOutputChannel("GradTracer Trace", { log: true });
  const status = createStatusItem();
  const running = new Server(log, trace, context.extensionPath);
  server = running;

  const requests = new Requests(running);
  const inspector = new Inspector(context, requests);
  const tree = new RunsTree(requests);
  const refresh = atMostEvery(TREE_MS, () => void tree.refresh());

  const restart = (): void => {
    running.restart().catch((error: unknown) => log.error(`starting the server: ${String(error)}`));
  };
  const choose = (): void => {
    void (pythonExtensionPresent()
      ? commands.executeCommand("python.setInterpreter")
      : commands.executeCommand("workbench.action.openSettings", "gradtracer.interpreter"));
  };
  const installServer = async (): Promise<void> => {
    const { state } = running;
    if (state.kind !== "not-installed") {
      await window.showInformationMessage("GradTracer: there is nothing to install");
    } else if (await install(state.interpreter)) {
      restart();
    }
  };
  const tell = async (state: ServerState): Promise<void> => {
    if (state.kind === "not-installed") {
      const actions = { install: () => void installServer(), choose };
      await offerInstallation(state.interpreter, state.message, context.workspaceState, actions);
    } else if (state.kind === "given-up") {
      const answer = await window.showErrorMessage(state.message, "Restart", "Show Log");
      if (answer === "Restart") {
        restart();
      } else if (answer === "Show Log") {
        log.show();
      }
    }
  };

  context.subscriptions.push(
    log,
    trace,
    status,
    running.onDidChange((state) => {
      const message = "message" in state ? `: ${state.message}` : "";
      log.info(`server: ${state.kind}${message}`);
      showState(status, state);
      void tell(state);
      if (state.kind === "running") {
        running.client?.onNotification(RUNS_CHANGED, () => {
          refresh();
          inspector.refresh();
        });
      }
      refresh();
    }),
    inspector,
    window.createTreeView("gradtracer.runs", { treeDataProvider: tree, canSelectMany: true }),
    ...registerRunCommands(running, requests, inspector),
    ...registerMcp(running),
    commands.registerCommand("gradtracer.files.compressCheckpoint", (uri?: Uri) =>
      compressCheckpoint(context.workspaceState, uri),
    ),
    commands.registerCommand("gradtracer.refreshRuns", () => tree.refresh()),
    commands.registerCommand("gradtracer.openWalkthrough", () =>
      commands.executeCommand("workbench.action.openWalkthrough", `${context.extension.id}#start`),
    ),
    commands.registerCommand("gradtracer.restartServer", restart),
    commands.registerCommand("gradtracer.installServer", installServer),
    commands.registerCommand("gradtracer.chooseInterpreter", choose),
    commands.registerCommand("gradtracer.showLog", () => log.show()),
    commands.registerCommand("gradtracer.traceServer", async () => {
      trace.show();
      await commands.executeCommand("workbench.action.setLogLevel");
    }),
    commands.registerCommand("gradtracer.debugInformation", () =>
      showDebugInformation(context.extension, running.state),
    ),
    workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration(`${SECTION}.interpreter`)) {
        restart();
      } else if (event.affectsConfiguration(SECTION)) {
        void running.settingsChanged();
      }
    }),
    window.onDidChangeActiveColorTheme(() => void running.settingsChanged()),
    workspace.onDidGrantWorkspaceTrust(restart),
  );
  void followSelection(
    () => restart(),
    (subscription) => context.subscriptions.push(subscription),
  );
  restart();
  log.info(`activated in ${(performance.now() - began).toFixed(1)} ms`);
}

export async function deactivate(): Promise<void> {
  await server?.dispose();
}

/** Calls now when the last call is long enough ago, else once when it is. */
function atMostEvery(milliseconds: number, call: () => void): () => void {
  let last = 0;
  let due: NodeJS.Timeout | undefined;
  return () => {
    due ??= setTimeout(
      () => {
        due = undefined;
        last = Date.now();
        call();
      },
      Math.max(0, last + milliseconds - Date.now()),
    );
  };
}
