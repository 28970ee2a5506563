// What an interpreter has installed, and whether this extension can work with it.
import { execFile } from "node:child_process";

/** The server's major version that this extension speaks with. */
export const SERVER_MAJOR = 1;
const LEAST_PYTHON = [3, 11] as const;
const DEADLINE_MS = 20_000;

/** What is asked for by name when it is missing: one argument of `pip install`. */
export const REQUIREMENT = `gradtracer[server]>=${SERVER_MAJOR},<${SERVER_MAJOR + 1}`;

/** Answers of an interpreter about itself. */
export interface Installation {
  readonly python: readonly [number, number];
  /** Version of the distribution `gradtracer`; null where it has no metadata or is not there. */
  readonly version: string | null;
  /** Modules of the server that cannot be imported. */
  readonly missing: readonly string[];
  /** Whether it has what `gradtracer mcp` needs. */
  readonly agents: boolean;
}

export type Verdict =
  | { readonly kind: "ready" }
  | { readonly kind: "python-too-old"; readonly message: string }
  | { readonly kind: "not-installed" | "too-old" | "too-new"; readonly message: string };

// Looks without importing, so that it is quick and runs no code of the packages.
const QUESTION = `
import importlib.metadata, importlib.util, json, sys
names = ["gradtracer_server", "gradtracer_schemas", "msgspec", "zmq", "pygls", "lsprotocol",
         "tree_sitter", "tree_sitter_python"]
try:
    version = importlib.metadata.version("gradtracer")
except importlib.metadata.PackageNotFoundError:
    version = None
missing = [name for name in names if importlib.util.find_spec(name) is None]
agents = importlib.util.find_spec("mcp") is not None
print(json.dumps({"python": sys.version_info[:2], "version": version, "missing": missing,
                  "agents": agents}))
`;

/** Ask an interpreter what it has; rejects when it does not run or answers something else. */
export function inspect(interpreter: string, folder: string): Promise<Installation> {
  return new Promise((resolve, reject) => {
    // A folder of ours: Python would import json.py and the like from the current one.
    const options = { cwd: folder, timeout: DEADLINE_MS, windowsHide: true };
    execFile(interpreter, ["-c", QUESTION], options, (error, stdout, stderr) => {
      if (error !== null) {
        const said = stderr.trim().split("\n").at(-1) ?? "";
        reject(new Error(`${interpreter} does not run as Python: ${said || error.message}`));
        return;
      }
      try {
        resolve(JSON.parse(stdout) as Installation);
      } catch {
        reject(new Error(`${interpreter} does not answer as Python does: ${stdout.slice(0, 80)}`));
      }
    });
  });
}

/** Whether a server of this installation can serve this extension, and what to do if not. */
export function judge(installation: Installation): Verdict {
  const { python, version, missing } = installation;
  if (python[0] < LEAST_PYTHON[0] || (python[0] === LEAST_PYTHON[0] && python[1] < LEAST_PYTHON[1])) {
    return {
      kind: "python-too-old",
      message: `GradTracer needs Python ${LEAST_PYTHON.join(".")} or later, and this is ${python.join(".")}`,
    };
  }
  const major = version === null ? null : Number.parseInt(version, 10);
  if (major !== null && major < SERVER_MAJOR) {
    return {
      kind: "too-old",
      message: `This extension needs gradtracer ${SERVER_MAJOR}.x, and it is ${version}`,
    };
  }
  if (major !== null && major > SERVER_MAJOR) {
    return {
      kind: "too-new",
      message: `gradtracer ${version} is newer than this extension, which knows ${SERVER_MAJOR}.x: update the extension`,
    };
  }
  if (missing.length > 0) {
    const message = missing.includes("gradtracer_server")
      ? "GradTracer is not installed"
      : `GradTracer lacks ${missing.join(", ")}`;
    return { kind: "not-installed", message };
  }
  return { kind: "ready" };
}

/** The arguments after the interpreter that install what is missing. */
export const INSTALL_ARGUMENTS: readonly string[] = ["-m", "pip", "install", "--upgrade", REQUIREMENT];

/** The same as a line for a terminal. */
export function installCommand(interpreter: string): string {
  const program = /^[\w@%+=:,./\\-]+$/.test(interpreter) ? interpreter : `"${interpreter}"`;
  return `${program} -m pip install --upgrade "${REQUIREMENT}"`;
}
