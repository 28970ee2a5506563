// Puts the parts together. Nothing here waits for the server: the editor must not.
import { commands, type ExtensionContext, window, workspace } from "vscode";

import { showDebugInformation } from "./debug_information";
import { install, offerInstallation } from "./install";
import { followSelection, pythonExtensionPresent } from "./python_extension";
import { Server, type ServerState } from "./server";
import { SECTION } from "./settings";
import { createStatusItem, showState } from "./status";

let server: Server | undefined;

export function activate(context: ExtensionContext): void {
  const began = performance.now();
  const log = window.createOutputChannel("GradTracer", { log: true });
  const trace = window.createOutputChannel("GradTracer Trace", { log: true });
  const status = createStatusItem();
  const running = new Server(log, trace, context.extensionPath);
  server = running;

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
    }),
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
