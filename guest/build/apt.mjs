import { existsSync, readdirSync } from "node:fs";
import { findCommand, run } from "./command.mjs";

/** apt and dpkg must not ask anything, and must answer in English, because their answers are read. */
export const APT_ENVIRONMENT = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };

/**
 * How this user becomes root: nothing to put in front (is root), `sudo -n` (needs no password), or not at all.
 * @returns {Promise<string[] | undefined>}
 */
export async function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  const sudo = findCommand("sudo");
  if (sudo === undefined) return undefined;
  const usable = await run(sudo, ["-n", "true"]).then(
    () => true,
    () => false,
  );
  return usable ? [sudo, "-n"] : undefined;
}

/** Container images of Debian come without package lists: apt then knows no package at all. */
export function hasPackageLists() {
  const lists = "/var/lib/apt/lists";
  return existsSync(lists) && readdirSync(lists).some((name) => /_Packages(\.\w+)?$/.test(name));
}

/** Fetches the package lists; without the right to do so, the error names the line to run. */
export async function updatePackageLists() {
  const prefix = await rootPrefix();
  if (prefix === undefined) throw new Error("apt has no current package lists. Run: sudo apt-get update");
  await runAsRoot(prefix, ["apt-get", "-qq", "update"]);
}

/**
 * @param {readonly string[]} prefix from `rootPrefix`
 * @param {readonly string[]} command
 */
export async function runAsRoot(prefix, command) {
  // sudo drops the environment, env(1) behind it does not.
  const line = [...prefix, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", ...command];
  const [program = "env", ...args] = line;
  return run(program, args);
}
