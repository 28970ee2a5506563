// The tree of runs in the activity bar: runs, what was found in each, and their layers.
import {
  EventEmitter,
  MarkdownString,
  ThemeColor,
  ThemeIcon,
  type TreeDataProvider,
  TreeItem,
  TreeItemCollapsibleState,
} from "vscode";

import type { Requests } from "./requests";
import type { DiagnosisSummary, Health, LayerSummary, RunDetail, RunSummary } from "./run_types";

export interface RunNode {
  readonly kind: "run";
  run: RunSummary;
}
export interface LayersNode {
  readonly kind: "layers";
  readonly run: RunDetail;
}
export interface LayerNode {
  readonly kind: "layer";
  readonly folder: string;
  readonly layer: LayerSummary;
}
export interface DiagnosisNode {
  readonly kind: "diagnosis";
  readonly folder: string;
  readonly diagnosis: DiagnosisSummary;
}
interface NoteNode {
  readonly kind: "note";
  readonly text: string;
}
export type Node = RunNode | LayersNode | LayerNode | DiagnosisNode | NoteNode;

const HEALTH: Readonly<Record<Health, readonly [icon: string, color: string | undefined, word: string]>> = {
  healthy: ["pass", "testing.iconPassed", "healthy"],
  unknown: ["circle-outline", undefined, "no figures yet"],
  information: ["info", "notificationsInfoIcon.foreground", "something to know"],
  warning: ["warning", "notificationsWarningIcon.foreground", "a warning"],
  error: ["error", "notificationsErrorIcon.foreground", "an error"],
};
const STATUS: Readonly<Record<RunSummary["status"], readonly [icon: string, color: string | undefined]>> = {
  live: ["pulse", "charts.green"],
  finished: ["pass", undefined],
  interrupted: ["debug-pause", undefined],
  failed: ["error", "notificationsErrorIcon.foreground"],
  vanished: ["debug-disconnect", "notificationsWarningIcon.foreground"],
  unreadable: ["question", "notificationsWarningIcon.foreground"],
};

export class RunsTree implements TreeDataProvider<Node> {
  private readonly changes = new EventEmitter<RunNode[] | undefined>();
  private nodes: readonly RunNode[] = [];

  readonly onDidChangeTreeData = this.changes.event;

  constructor(private readonly requests: Requests) {}

  /** Draw anew what has changed, and no more: a menu that is open over another row stays good. */
  async refresh(): Promise<void> {
    const runs = await this.requests.runs();
    const same = ({ folder }: RunSummary, at: number): boolean => folder === this.nodes[at]?.run.folder;
    if (runs.length !== this.nodes.length || !runs.every(same)) {
      this.changes.fire(undefined);
      return;
    }
    const changed = this.nodes.filter((node, at) => shown(node.run) !== shown(runs[at] ?? node.run));
    this.nodes.forEach((node, at) => {
      node.run = runs[at] ?? node.run;
    });
    if (changed.length > 0) {
      this.changes.fire(changed);
    }
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (node === undefined) {
      this.nodes = (await this.requests.runs()).map((run) => ({ kind: "run", run }));
      return [...this.nodes];
    }
    if (node.kind === "layers") {
      const { folder, layers } = node.run;
      return layers.map((layer) => ({ kind: "layer", folder, layer }));
    }
    if (node.kind !== "run") {
      return [];
    }
    const { folder } = node.run;
    const run = await this.requests.run(folder);
    if (run === null) {
      return [{ kind: "note", text: "This run is gone" }];
    }
    return [
      ...run.faults.map(({ message }): Node => ({ kind: "note", text: message })),
      ...run.diagnoses.map((diagnosis): Node => ({ kind: "diagnosis", folder, diagnosis })),
      { kind: "layers", run },
    ];
  }

  getTreeItem(node: Node): TreeItem {
    switch (node.kind) {
      case "run":
        return runItem(node.run);
      case "layers":
        return layersItem(node.run);
      case "layer":
        return layerItem(node);
      case "diagnosis":
        return diagnosisItem(node);
      case "note": {
        const item = new TreeItem(node.text);
        item.iconPath = new ThemeIcon("info");
        return item;
      }
    }
  }
}

/** What of a run the tree shows: what is open below it changes with its diagnoses. */
function shown({ outcome, following, revision }: RunSummary): string {
  return JSON.stringify([outcome, following, revision]);
}

/** `movielens_mf.py 02:50:13`, with the day where it is not today. */
export function runTitle(run: RunSummary): string {
  const name = run.script.split(/[\\/]/).at(-1) || run.id;
  if (run.startedAt === null) {
    return name;
  }
  const began = new Date(run.startedAt * 1000);
  const time = began.toLocaleTimeString([], { hour12: false });
  const today = began.toDateString() === new Date().toDateString();
  return today ? `${name} ${time}` : `${name} ${began.toLocaleDateString()} ${time}`;
}

function runItem(run: RunSummary): TreeItem {
  const open = run.status === "live" ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.Collapsed;
  const item = new TreeItem(runTitle(run), open);
  const [icon, color] = STATUS[run.status];
  item.id = run.folder;
  item.iconPath = new ThemeIcon(icon, color === undefined ? undefined : new ThemeColor(color));
  item.description = run.following ? run.outcome : `not followed. ${run.outcome}`;
  item.tooltip = `${run.script} ${run.arguments.join(" ")}\n${run.outcome}\n${run.id}`;
  item.contextValue = [
    "run",
    run.status === "live" ? "live" : "over",
    run.following ? "followed" : "unfollowed",
  ].join(" ");
  item.accessibilityInformation = { label: `${runTitle(run)}, ${item.description}` };
  return item;
}

function layersItem(run: RunDetail): TreeItem {
  const item = new TreeItem("Layers", TreeItemCollapsibleState.Collapsed);
  const ill = run.layers.filter(({ health }) => health === "warning" || health === "error").length;
  item.id = `${run.folder}/layers`;
  item.description = ill === 0 ? `${run.layers.length}` : `${run.layers.length}, ${ill} with warnings`;
  return item;
}

function layerItem({ folder, layer }: LayerNode): TreeItem {
  const item = new TreeItem(layer.name);
  const [icon, color, word] = HEALTH[layer.health];
  item.id = `${folder}/layers/${layer.name}`;
  item.iconPath = new ThemeIcon(icon, color === undefined ? undefined : new ThemeColor(color));
  item.description = layer.kind;
  item.tooltip = `${layer.name}: ${layer.kind}${layer.trainable ? "" : ", frozen"}\n${word}`;
  item.contextValue = "layer";
  item.command = {
    title: "Go to Definition",
    command: "gradtracer.goToDefinition",
    arguments: [{ kind: "layer", folder, layer }],
  };
  item.accessibilityInformation = { label: `${layer.name}, ${layer.kind}, ${word}` };
  return item;
}

function diagnosisItem({ folder, diagnosis }: DiagnosisNode): TreeItem {
  const item = new TreeItem(diagnosis.layer || diagnosis.type);
  const [icon, color, word] = HEALTH[diagnosis.severity];
  item.id = `${folder}/${diagnosis.id}`;
  item.iconPath = new ThemeIcon(icon, color === undefined ? undefined : new ThemeColor(color));
  item.description = diagnosis.title;
  // Of a journal nothing is markdown.
  item.tooltip = new MarkdownString().appendText(
    `${diagnosis.premise}\n\n${diagnosis.action}\n\n${diagnosis.confidence}`,
  );
  item.contextValue = `diagnosis ${diagnosis.type}`;
  item.command = {
    title: "Go to Definition",
    command: "gradtracer.goToDefinition",
    arguments: [{ kind: "diagnosis", folder, diagnosis }],
  };
  item.accessibilityInformation = { label: `${word}: ${diagnosis.title}, ${diagnosis.layer}` };
  return item;
}
