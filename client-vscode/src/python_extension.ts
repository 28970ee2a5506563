// As much of the Python extension's API as is needed; it may be absent, or of another vendor.
import { type Event, extensions, type Uri } from "vscode";

const EXTENSION = "ms-python.python";

interface Environments {
  getActiveEnvironmentPath(resource?: Uri): { readonly path: string };
  resolveEnvironment(
    environment: { readonly path: string },
  ): Promise<{ readonly executable: { readonly uri?: Uri | undefined } } | undefined>;
  readonly onDidChangeActiveEnvironmentPath: Event<unknown>;
}

export function pythonExtensionPresent(): boolean {
  return extensions.getExtension(EXTENSION) !== undefined;
}

/** The interpreter that the user selected there. */
export async function selectedInterpreter(resource: Uri | undefined): Promise<string | undefined> {
  const environments = await activated();
  if (environments === undefined) {
    return undefined;
  }
  const environment = await environments.resolveEnvironment(
    environments.getActiveEnvironmentPath(resource),
  );
  return environment?.executable.uri?.fsPath;
}

/** Calls `changed` whenever another interpreter is selected. */
export async function followSelection(
  changed: () => void,
  keep: (subscription: { dispose(): unknown }) => void,
): Promise<void> {
  const environments = await activated();
  if (environments !== undefined) {
    keep(environments.onDidChangeActiveEnvironmentPath(changed));
  }
}

async function activated(): Promise<Environments | undefined> {
  const extension = extensions.getExtension<{ environments?: Environments }>(EXTENSION);
  if (extension === undefined) {
    return undefined;
  }
  const api = await extension.activate();
  return api?.environments;
}
