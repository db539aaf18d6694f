import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../guest/build/command.mjs";

/**
 * True when node_modules holds exactly what package-lock.json asks for. npm keeps beside the packages a list of what it
 * has installed; packages for other platforms are in the lock only.
 * @param {string} root
 */
export async function npmPackagesPresent(root) {
  const wanted = await packagesIn(join(root, "package-lock.json"));
  const installed = await packagesIn(join(root, "node_modules/.package-lock.json")).catch(() => undefined);
  if (installed === undefined) return false;
  const names = Object.keys(wanted).filter((name) => name !== "");
  const extra = Object.keys(installed).some((name) => wanted[name] === undefined);
  const same = (/** @type {string} */ name) =>
    installed[name]?.version === wanted[name]?.version && installed[name]?.integrity === wanted[name]?.integrity;
  return !extra && names.every((name) => same(name) || (wanted[name]?.optional && installed[name] === undefined));
}

/**
 * Exactly what the lock file says, checked against its digests. No package runs a script of its own meanwhile.
 * @param {string} root
 */
export async function installNpmPackages(root) {
  await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root });
}

/**
 * @param {string} path
 * @returns {Promise<Record<string, { version?: string, integrity?: string, optional?: boolean }>>}
 */
async function packagesIn(path) {
  return JSON.parse(await readFile(path, "utf8")).packages;
}
