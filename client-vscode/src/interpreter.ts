// Which Python the server runs in: the order is documented in README.md and shown to the user.
import { access, constants } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";

/** What named an interpreter, in the order in which they are asked. */
export type InterpreterSource = "setting" | "python-extension" | "workspace" | "path";

export interface Interpreter {
  readonly path: string;
  readonly source: InterpreterSource;
}

/** What the search may look at. In an untrusted workspace nothing that the workspace brings. */
export interface Surroundings {
  /** `gradtracer.interpreter`, empty when it is not set. */
  readonly setting: string;
  /** The environment that the Python extension has selected, where that extension is there. */
  readonly selected: () => Promise<string | undefined>;
  readonly folders: readonly string[];
  readonly trusted: boolean;
  readonly searchPath: string;
  readonly platform: NodeJS.Platform;
}

const WORDS: Readonly<Record<InterpreterSource, string>> = {
  setting: "the setting gradtracer.interpreter",
  "python-extension": "the Python extension",
  workspace: "the workspace's virtual environment",
  path: "PATH",
};

/** Who chose the interpreter, in words for the user. */
export function sourceInWords(source: InterpreterSource): string {
  return WORDS[source];
}

/** The setting that names an interpreter names none. */
export class InterpreterNotFound extends Error {}

/** The first interpreter there is; a setting that names a missing file is an error, not a miss. */
export async function findInterpreter(where: Surroundings): Promise<Interpreter | undefined> {
  if (where.setting !== "") {
    const path = expand(where.setting, where.folders);
    const found = isAbsolute(path) ? await executable(path) : await onPath([path], where);
    if (found === undefined) {
      throw new InterpreterNotFound(
        `gradtracer.interpreter names no program: ${path}. Set it to the python of your environment, ` +
          `for example ${example(where.platform)}, or clear it.`,
      );
    }
    return { path: found, source: "setting" };
  }
  const selected = await where.selected();
  if (selected !== undefined && (await executable(selected)) !== undefined) {
    return { path: selected, source: "python-extension" };
  }
  if (where.trusted) {
    for (const folder of where.folders) {
      for (const name of [".venv", "venv"]) {
        const path = join(folder, name, ...inEnvironment(where.platform));
        if ((await executable(path)) !== undefined) {
          return { path, source: "workspace" };
        }
      }
    }
  }
  const names = where.platform === "win32" ? ["python.exe"] : ["python3", "python"];
  const path = await onPath(names, where);
  return path === undefined ? undefined : { path, source: "path" };
}

/** `~` and `${workspaceFolder}` filled in. */
function expand(setting: string, folders: readonly string[]): string {
  const home = setting.replace(/^~(?=$|[\\/])/, () => homedir());
  return home.replace("${workspaceFolder}", () => folders[0] ?? "");
}

async function onPath(names: readonly string[], where: Surroundings): Promise<string | undefined> {
  for (const folder of where.searchPath.split(delimiter)) {
    // A relative entry would be looked up in whatever folder is current.
    if (!isAbsolute(folder)) {
      continue;
    }
    for (const name of names) {
      const found = await executable(join(folder, name));
      if (found !== undefined) {
        return found;
      }
    }
  }
  return undefined;
}

async function executable(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}

function inEnvironment(platform: NodeJS.Platform): string[] {
  return platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"];
}

function example(platform: NodeJS.Platform): string {
  return join("${workspaceFolder}", ".venv", ...inEnvironment(platform));
}
