// The language status item: behind the braces beside "Python", and in every Python file.
import { languages, LanguageStatusSeverity, type LanguageStatusItem } from "vscode";

import { sourceInWords } from "./interpreter";
import type { ServerState } from "./server";

export function createStatusItem(): LanguageStatusItem {
  const item = languages.createLanguageStatusItem("gradtracer.server", { language: "python" });
  item.name = "GradTracer";
  return item;
}

/** Bring the item in line with the server. */
export function showState(item: LanguageStatusItem, state: ServerState): void {
  item.busy = state.kind === "starting";
  item.severity = LanguageStatusSeverity.Information;
  item.command = { title: "Show Log", command: "gradtracer.showLog" };
  switch (state.kind) {
    case "starting":
      item.text = "GradTracer starts";
      item.detail = "";
      return;
    case "running":
      item.text = `GradTracer ${state.version}`;
      item.detail = `${state.interpreter.path}, from ${sourceInWords(state.interpreter.source)}`;
      item.command = { title: "Restart", command: "gradtracer.restartServer" };
      return;
    case "not-installed":
      item.text = "GradTracer has no server here";
      item.detail = `${state.message} in ${state.interpreter.path}`;
      item.command = { title: "Install", command: "gradtracer.installServer" };
      break;
    case "unsuitable":
      item.text = "GradTracer cannot start";
      item.detail = `${state.message} (${state.interpreter.path})`;
      break;
    case "no-interpreter":
      item.text = "GradTracer has no Python";
      item.detail = state.message;
      item.command = { title: "Choose Interpreter", command: "gradtracer.chooseInterpreter" };
      break;
    case "given-up":
      item.text = "GradTracer was stopped";
      item.detail = state.message;
      item.command = { title: "Restart", command: "gradtracer.restartServer" };
      break;
  }
  item.severity = LanguageStatusSeverity.Warning;
}
