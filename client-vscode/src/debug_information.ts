// Everything that a bug report should say, in a document that the user can read before sending it.
import { env, type Extension, version, window, workspace } from "vscode";

import { PROTOCOL_VERSION } from "./protocol";
import { pythonExtensionPresent } from "./python_extension";
import type { ServerState } from "./server";
import { interpreterSetting, serverSettings } from "./settings";

/** Open it as an unsaved document. */
export async function showDebugInformation(
  extension: Extension<unknown>,
  state: ServerState,
): Promise<void> {
  const { version: own } = extension.packageJSON as { readonly version: string };
  const content = [
    "GradTracer debug information",
    "",
    `extension            ${own}`,
    `protocol             ${PROTOCOL_VERSION}`,
    `editor               ${env.appName} ${version}, ${process.platform}-${process.arch}`,
    `where it runs        ${env.remoteName ?? "locally"}`,
    `workspace            ${workspace.workspaceFolders?.length ?? 0} folders, ${workspace.isTrusted ? "trusted" : "not trusted"}`,
    `Python extension     ${pythonExtensionPresent() ? "installed" : "not installed"}`,
    `interpreter setting  ${interpreterSetting() || "not set"}`,
    "",
    "server",
    JSON.stringify(state, undefined, 2),
    "",
    "settings that differ from their defaults",
    JSON.stringify(serverSettings(), undefined, 2),
    "",
  ].join("\n");
  const document = await workspace.openTextDocument({ content, language: "plaintext" });
  await window.showTextDocument(document);
}
