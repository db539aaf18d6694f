#!/usr/bin/env node
// Compiles src to dist: `npm run build`. Does nothing when dist was made from exactly these sources.
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../guest/build/command.mjs";
import { replaceFolder } from "../guest/build/replace-folder.mjs";

/** Holds the digest of the sources that dist was made from. */
const STAMP = ".made-from";
const SETTINGS = ["package-lock.json", "tsconfig.json", "tsconfig.build.json", "scripts/build.mjs"];

/**
 * Builds into a new folder that then takes the place of dist, so that no stale file survives and nobody who starts
 * drover meanwhile sees half of it.
 * @param {string} root of the repository
 * @returns {Promise<{ folder: string, built: boolean }>}
 */
export async function buildDist(root) {
  const folder = join(root, "dist");
  const source = join(root, "src");
  const files = await filesBelow(source);
  const digest = await digestOf(root, [...SETTINGS.map((name) => join(root, name)), ...files]);
  const stamp = await readFile(join(folder, STAMP), "utf8").catch(() => undefined);
  if (stamp === digest) return { folder, built: false };

  // A neighbour of dist, because the source maps hold paths relative to it.
  const building = await mkdtemp(join(root, "dist.building-"));
  const previous = `${building}.previous`;
  try {
    const compiler = join(root, "node_modules/typescript/bin/tsc");
    await run(process.execPath, [compiler, "-p", "tsconfig.build.json", "--outDir", building], { cwd: root });
    for (const file of files.filter((path) => !path.endsWith(".ts"))) {
      const copy = join(building, relative(source, file));
      await mkdir(dirname(copy), { recursive: true });
      await copyFile(file, copy);
    }
    await writeFile(join(building, STAMP), digest);
    await replaceFolder(folder, building, previous);
  } finally {
    await rm(building, { recursive: true, force: true });
    await rm(previous, { recursive: true, force: true });
  }
  return { folder, built: true };
}

/** @param {string} folder */
async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/**
 * @param {string} root
 * @param {readonly string[]} paths
 */
async function digestOf(root, paths) {
  const hash = createHash("sha256");
  for (const path of paths) {
    const bytes = await readFile(path);
    hash.update(`${relative(root, path)} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex");
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    await buildDist(resolve(dirname(fileURLToPath(import.meta.url)), ".."));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
