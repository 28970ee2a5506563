// Offers the server's tools to agents, by the editor's own registry of MCP servers.
import { type Disposable, EventEmitter, lm, McpStdioServerDefinition, workspace } from "vscode";

import type { Server } from "./server";

/** Nothing where the editor has no such registry. */
export function registerMcp(server: Server): Disposable[] {
  if (typeof lm?.registerMcpServerDefinitionProvider !== "function") {
    return [];
  }
  const changes = new EventEmitter<void>();
  const provider = lm.registerMcpServerDefinitionProvider("gradtracer.mcp", {
    onDidChangeMcpServerDefinitions: changes.event,
    provideMcpServerDefinitions: () => {
      const { state } = server;
      if (state.kind !== "running" || !state.agents || !workspace.isTrusted) {
        return [];
      }
      const folders = (workspace.workspaceFolders ?? []).map(({ uri }) => uri.fsPath);
      const args = ["-P", "-m", "gradtracer_server", "mcp", ...folders];
      return [new McpStdioServerDefinition("GradTracer", state.interpreter.path, args, {}, state.version)];
    },
  });
  return [changes, provider, server.onDidChange(() => changes.fire())];
}
