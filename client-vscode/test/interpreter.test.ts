import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import test, { after } from "node:test";

import { findInterpreter, InterpreterNotFound, type Surroundings } from "../src/interpreter";

const root = mkdtempSync(join(tmpdir(), "gradtracer-"));
after(() => rmSync(root, { recursive: true }));

function program(...path: string[]): string {
  const file = join(root, ...path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "");
  chmodSync(file, 0o755);
  return file;
}

const workspace = join(root, "workspace");
const own = program("workspace", ".venv", "bin", "python");
const onPath = program("bin", "python3");
const other = program("other", "python");

const everything: Surroundings = {
  setting: other,
  selected: () => Promise.resolve(onPath),
  folders: [workspace],
  trusted: true,
  searchPath: join(root, "bin"),
  platform: "linux",
};

test("the setting comes first, then the Python extension, the workspace, and PATH", async () => {
  const without = { ...everything, setting: "" };
  const unselected = { ...without, selected: () => Promise.resolve(undefined) };
  const bare = { ...unselected, folders: [] };
  assert.deepEqual(await findInterpreter(everything), { path: other, source: "setting" });
  assert.deepEqual(await findInterpreter(without), { path: onPath, source: "python-extension" });
  assert.deepEqual(await findInterpreter(unselected), { path: own, source: "workspace" });
  assert.deepEqual(await findInterpreter(bare), { path: onPath, source: "path" });
  assert.equal(await findInterpreter({ ...bare, searchPath: "" }), undefined);
});

test("an untrusted workspace does not bring the program that is run", async () => {
  const where = { ...everything, setting: "", selected: () => Promise.resolve(undefined) };
  assert.equal((await findInterpreter(where))?.source, "workspace");
  assert.equal((await findInterpreter({ ...where, trusted: false }))?.source, "path");
});

test("a setting that names no program is an error that names the setting", async () => {
  const wrong = findInterpreter({ ...everything, setting: join(root, "no", "python") });
  await assert.rejects(wrong, InterpreterNotFound);
  await assert.rejects(wrong, /gradtracer\.interpreter names no program: .*no.python/);
});

test("a setting may speak of the workspace folder, and of a program on PATH", async () => {
  const setting = "${workspaceFolder}/.venv/bin/python";
  assert.equal((await findInterpreter({ ...everything, setting }))?.path, own);
  assert.equal((await findInterpreter({ ...everything, setting: "python3" }))?.path, onPath);
});

test("a relative entry of PATH is passed over: it would be the workspace's own", async () => {
  const searchPath = [".", "bin", ""].join(delimiter);
  const where = { ...everything, setting: "python3", searchPath };
  await assert.rejects(findInterpreter(where), InterpreterNotFound);
});
