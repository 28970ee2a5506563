// The language server's life: found, asked for its version, started, restarted, given up.
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, type LogOutputChannel, workspace } from "vscode";
import {
  CloseAction,
  DidChangeConfigurationNotification,
  ErrorAction,
  LanguageClient,
  type LanguageClientOptions,
  RevealOutputChannelOn,
  State,
} from "vscode-languageclient/node";

import { Crashes, MOST_CRASHES } from "./crashes";
import { inspect, judge } from "./installation";
import { findInterpreter, type Interpreter, sourceInWords } from "./interpreter";
import { Latest } from "./latest";
import { selectedInterpreter } from "./python_extension";
import { interpreterSetting, serverSettings } from "./settings";

const STDERR_KEPT = 4000;

/** How the server stands, for whoever shows it. */
export type ServerState =
  | { readonly kind: "starting" }
  | {
      readonly kind: "running";
      readonly interpreter: Interpreter;
      readonly version: string;
      /** Whether `gradtracer mcp` can run there. */
      readonly agents: boolean;
    }
  | { readonly kind: "no-interpreter"; readonly message: string }
  | { readonly kind: "not-installed"; readonly interpreter: Interpreter; readonly message: string }
  | { readonly kind: "unsuitable"; readonly interpreter: Interpreter; readonly message: string }
  | { readonly kind: "given-up"; readonly message: string };

export class Server {
  private readonly changes = new EventEmitter<ServerState>();
  private readonly crashes = new Crashes();
  private readonly restarts = new Latest(() => this.startAfresh());
  private current: ServerState = { kind: "starting" };
  private running: LanguageClient | undefined;

  /** Fires with each change of `state`. */
  readonly onDidChange = this.changes.event;

  /**
   * `folder`: one of the extension's own, where the interpreter is run: in the workspace, Python
   * would take a file named like a module of the standard library for that module.
   */
  constructor(
    private readonly log: LogOutputChannel,
    private readonly trace: LogOutputChannel,
    private readonly folder: string,
  ) {}

  get state(): ServerState {
    return this.current;
  }

  /** The client, while the server runs. */
  get client(): LanguageClient | undefined {
    return this.current.kind === "running" ? this.running : undefined;
  }

  /** Start, or start again with what is set now. Requests during a start become one. */
  restart(): Promise<void> {
    this.crashes.forget();
    return this.restarts.request();
  }

  /** Tell the running server what is set now. */
  async settingsChanged(): Promise<void> {
    // Without settings in it, the server asks for them: by `middleware` it gets its own alone.
    await this.client?.sendNotification(DidChangeConfigurationNotification.type, {
      settings: null,
    });
  }

  async dispose(): Promise<void> {
    await this.stop();
    this.changes.dispose();
  }

  private async startAfresh(): Promise<void> {
    await this.stop();
    this.become({ kind: "starting" });
    let interpreter: Interpreter | undefined;
    try {
      interpreter = await this.find();
    } catch (error) {
      this.become({ kind: "no-interpreter", message: inWords(error) });
      return;
    }
    if (interpreter === undefined) {
      this.become({
        kind: "no-interpreter",
        message: "No Python was found: set gradtracer.interpreter to the python of your environment",
      });
      return;
    }
    this.log.info(`interpreter: ${interpreter.path}, from ${sourceInWords(interpreter.source)}`);
    try {
      const installation = await inspect(interpreter.path, this.folder);
      const verdict = judge(installation);
      if (verdict.kind !== "ready") {
        const offered = verdict.kind === "not-installed" || verdict.kind === "too-old";
        const kind = offered ? "not-installed" : "unsuitable";
        this.become({ kind, interpreter, message: verdict.message });
        return;
      }
      await this.start(interpreter, installation.agents);
    } catch (error) {
      this.become({ kind: "unsuitable", interpreter, message: inWords(error) });
    }
  }

  private find(): Promise<Interpreter | undefined> {
    const first = workspace.workspaceFolders?.[0]?.uri;
    return findInterpreter({
      setting: interpreterSetting(),
      selected: async () => {
        try {
          return await selectedInterpreter(first);
        } catch (error) {
          this.log.warn(`the Python extension does not tell its interpreter: ${inWords(error)}`);
          return undefined;
        }
      },
      folders: (workspace.workspaceFolders ?? [])
        .filter((each) => each.uri.scheme === "file")
        .map((each) => each.uri.fsPath),
      trusted: workspace.isTrusted,
      searchPath: process.env["PATH"] ?? "",
      platform: process.platform,
    });
  }

  private async start(interpreter: Interpreter, agents: boolean): Promise<void> {
    let lastWords = "";
    const launch = async (): Promise<ChildProcess> => {
      const args = ["-P", "-m", "gradtracer_server", "serve"];
      const child = spawn(interpreter.path, args, { cwd: this.folder, windowsHide: true });
      child.stderr.on("data", (chunk: Buffer) => {
        lastWords = (lastWords + chunk.toString("utf-8")).slice(-STDERR_KEPT);
      });
      return child;
    };
    const client = new LanguageClient("gradtracer", "GradTracer", launch, this.options());
    this.running = client;
    client.onDidChangeState(({ newState }) => {
      if (client === this.running && newState === State.Running) {
        const version = client.initializeResult?.serverInfo?.version ?? "";
        this.become({ kind: "running", interpreter, version, agents });
      }
    });
    try {
      await client.start();
    } catch (error) {
      const said = lastWords.trim().split("\n").at(-1) ?? "";
      throw new Error(`The server did not start: ${said || inWords(error)}`);
    }
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: [
        { scheme: "file", language: "python" },
        { notebook: { notebookType: "jupyter-notebook", scheme: "file" }, language: "python" },
      ],
      outputChannel: this.log,
      traceOutputChannel: this.trace,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationOptions: serverSettings(),
      initializationFailedHandler: () => false,
      errorHandler: {
        error: (error) => {
          this.log.error(`talking to the server: ${error.message}`);
          return { action: ErrorAction.Continue, handled: true };
        },
        closed: () => this.closed(),
      },
      middleware: {
        // The server would complain of the extension's own settings.
        workspace: {
          configuration: (params) => params.items.map(() => serverSettings()),
        },
      },
    };
  }

  /** The connection ended, and nobody asked for it: start another server, or give up. */
  private closed(): { action: CloseAction; handled: true; message: string } {
    const result = { action: CloseAction.DoNotRestart, handled: true } as const;
    if (this.current.kind !== "running") {
      return { ...result, message: "the server ended before it was ready" };
    }
    if (this.crashes.record(Date.now()) === "restart") {
      const message = `the server ended unexpectedly (${this.crashes.count} of ${MOST_CRASHES}): starting another`;
      void this.restarts.request();
      return { ...result, message };
    }
    const message = `The GradTracer server ended unexpectedly ${MOST_CRASHES} times within minutes and is not started again`;
    this.become({ kind: "given-up", message });
    return { ...result, message };
  }

  private async stop(): Promise<void> {
    const client = this.running;
    this.running = undefined;
    if (client === undefined) {
      return;
    }
    try {
      if (client.needsStop()) {
        await client.stop();
      }
      await client.dispose();
    } catch (error) {
      this.log.warn(`stopping the server: ${inWords(error)}`);
    }
  }

  private become(state: ServerState): void {
    this.current = state;
    this.changes.fire(state);
  }
}

function inWords(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
