// The inspector's half in the extension: one panel, fed from the server, allowed nothing else.
import { randomBytes } from "node:crypto";

import { type Disposable, type ExtensionContext, Uri, ViewColumn, type WebviewPanel, window, workspace } from "vscode";

import { applyRecipeOf } from "../changes";
import { Latest } from "../latest";
import type { Requests } from "../requests";
import { showDefinition } from "../run_commands";
import { runTitle } from "../runs_view";
import type { FromPage, ToPage } from "./messages";

const UPDATE_MS = 500;

export class Inspector implements Disposable {
  private panel: WebviewPanel | undefined;
  private folder = "";
  private layer = "";
  private statistic = "";
  private last = 0;
  private due: NodeJS.Timeout | undefined;
  private readonly sending = new Latest(() => this.send());

  constructor(
    private readonly context: ExtensionContext,
    private readonly requests: Requests,
  ) {}

  /** Show a run, and one of its layers where one is named. */
  async open(folder: string, layer = ""): Promise<void> {
    this.folder = folder;
    this.layer = layer;
    if (this.panel === undefined) {
      this.panel = this.create();
    } else {
      this.panel.reveal();
      await this.sending.request();
      if (layer !== "") {
        this.tell({ kind: "select", layer });
      }
    }
  }

  /** Something of the runs has changed: bring the page up to date, twice a second at most. */
  refresh(): void {
    if (this.panel?.visible !== true || this.due !== undefined) {
      return;
    }
    const wait = Math.max(0, this.last + UPDATE_MS - Date.now());
    this.due = setTimeout(() => {
      this.due = undefined;
      this.last = Date.now();
      void this.sending.request();
    }, wait);
  }

  dispose(): void {
    clearTimeout(this.due);
    this.panel?.dispose();
  }

  private create(): WebviewPanel {
    const folder = Uri.joinPath(this.context.extensionUri, "dist");
    const panel = window.createWebviewPanel("gradtracer.inspector", "GradTracer", ViewColumn.Beside, {
      enableScripts: true,
      enableCommandUris: false,
      localResourceRoots: [folder],
    });
    const media = Uri.joinPath(this.context.extensionUri, "media");
    // A tab's icon is a picture: it has no colour of the theme's.
    panel.iconPath = {
      dark: Uri.joinPath(media, "inspector-dark.svg"),
      light: Uri.joinPath(media, "inspector-light.svg"),
    };
    const script = panel.webview.asWebviewUri(Uri.joinPath(folder, "inspector.js"));
    const style = panel.webview.asWebviewUri(Uri.joinPath(folder, "inspector.css"));
    panel.webview.html = page(String(script), String(style), panel.webview.cspSource);
    panel.webview.onDidReceiveMessage((message: FromPage) => this.hear(message));
    panel.onDidChangeViewState(() => this.refresh());
    panel.onDidDispose(() => {
      this.panel = undefined;
    });
    return panel;
  }

  private async hear(message: FromPage): Promise<void> {
    switch (message.kind) {
      case "ready":
        await this.sending.request();
        if (this.layer !== "") {
          this.tell({ kind: "select", layer: this.layer });
        }
        return;
      case "selected":
        this.layer = message.layer;
        await this.sendLayer();
        return;
      case "statistic":
        this.statistic = message.statistic;
        await this.sendStatistic();
        return;
      case "definition":
        await showDefinition(this.requests, this.folder, message.layer);
        return;
      case "apply-recipe":
        await applyRecipeOf(this.requests, this.folder);
        return;
      case "save":
        await save(message.name, message.base64);
        return;
    }
  }

  private async send(): Promise<void> {
    const run = await this.requests.run(this.folder);
    if (this.panel === undefined) {
      return;
    }
    if (run === null) {
      this.tell({ kind: "gone" });
      return;
    }
    this.panel.title = runTitle(run);
    this.tell({ kind: "run", title: runTitle(run), run });
    await this.sendLayer();
    await this.sendStatistic();
  }

  private async sendLayer(): Promise<void> {
    if (this.layer !== "") {
      const series = await this.requests.layerSeries(this.folder, this.layer);
      if (series !== null) {
        this.tell({ kind: "layer", series });
      }
    }
  }

  private async sendStatistic(): Promise<void> {
    if (this.statistic !== "") {
      const series = await this.requests.statistic(this.folder, this.statistic);
      if (series !== null) {
        this.tell({ kind: "statistic", series });
      }
    }
  }

  private tell(message: ToPage): void {
    void this.panel?.webview.postMessage(message);
  }
}

async function save(name: string, base64: string): Promise<void> {
  const folder = workspace.workspaceFolders?.[0]?.uri;
  const defaultUri = folder === undefined ? Uri.file(name) : Uri.joinPath(folder, name);
  const target = await window.showSaveDialog({ defaultUri });
  if (target !== undefined) {
    await workspace.fs.writeFile(target, Buffer.from(base64, "base64"));
  }
}

function page(script: string, style: string, source: string): string {
  const nonce = randomBytes(16).toString("base64");
  const policy = `default-src 'none'; style-src ${source}; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${style}">
<title>GradTracer inspector</title>
</head>
<body>
<main id="page"></main>
<script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}
