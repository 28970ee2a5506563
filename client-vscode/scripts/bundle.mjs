// Bundles the extension into dist/, with its icon and the licences of what is bundled.
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import esbuild from "esbuild";

import { icon } from "./icon.mjs";

const HERE = join(dirname(fileURLToPath(import.meta.url)), "..");
const DIST = join(HERE, "dist");
const COMMON = {
  absWorkingDir: HERE,
  bundle: true,
  minify: true,
  outdir: "dist",
  metafile: true,
  legalComments: "none",
  logLevel: "warning",
};

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST);
const host = await esbuild.build({
  ...COMMON,
  entryPoints: ["src/extension.ts"],
  platform: "node",
  target: "node20",
  format: "cjs",
  external: ["vscode"],
});
const page = await esbuild.build({
  ...COMMON,
  entryPoints: { inspector: "src/inspector/page/main.ts" },
  platform: "browser",
  target: "chrome120",
  format: "iife",
});
await writeFile(join(DIST, "icon.png"), icon(128));
await writeFile(join(DIST, "THIRD_PARTY.txt"), await licences([host, page]));
await copyFile(join(HERE, "..", "LICENSE"), join(HERE, "LICENSE"));

/** The licence of each package that went into a bundle. */
async function licences(bundles) {
  const folders = new Set();
  for (const file of bundles.flatMap((bundle) => Object.keys(bundle.metafile.inputs))) {
    const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file);
    if (found !== null) {
      folders.add(join(HERE, found[1]));
    }
  }
  const texts = [];
  for (const folder of [...folders].sort()) {
    const { name, version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf-8"));
    const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
    const text = file === undefined ? license : await readFile(join(folder, file), "utf-8");
    texts.push(`${name} ${version}\n\n${text.trim()}\n`);
  }
  return texts.join(`\n${"=".repeat(72)}\n\n`);
}
