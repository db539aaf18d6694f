#!/usr/bin/env node
// Brings a machine to the point where drover runs: `npm run setup`. Safe to repeat; with nothing to do it takes a moment.
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildGuest } from "../guest/build.mjs";
import { buildDist } from "./build.mjs";
import { installSystemParts, missingSystemParts } from "./prepare/debian-packages.mjs";
import { checkNodeVersion } from "./prepare/node-version.mjs";
import { installNpmPackages, npmPackagesPresent } from "./prepare/npm-packages.mjs";
import { seconds, step } from "./prepare/step.mjs";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * Installs and builds what is missing.
 * @param {object} [options]
 * @param {boolean} [options.quiet] say only what was really done
 * @param {boolean} [options.forTests] also what only the tests need
 * @param {(line: string) => void} [options.say]
 * @returns {Promise<{ guestDir: string, distDir: string }>}
 */
export async function prepare({ quiet = false, forTests = false, say = console.log } = {}) {
  checkNodeVersion();
  /** @type {<T>(name: string, work: () => Promise<T>, outcome: (result: T) => string | undefined) => Promise<T>} */
  const doStep = (name, work, outcome) =>
    step(name, work, { say, outcome: (result) => outcome(result) ?? (quiet ? undefined : "already there") });

  await doStep(
    "system packages",
    () => provideSystemParts(forTests),
    (names) => names && `installed ${names}`,
  );
  await doStep("npm packages", provideNpmPackages, (installed) => (installed ? "installed" : undefined));
  const guest = await doStep("demo guest", buildGuest, ({ built, folder }) =>
    built ? `built in ${folder}` : undefined,
  );
  const dist = await doStep(
    "drover",
    () => buildDist(ROOT),
    ({ built }) => (built ? "built" : undefined),
  );
  return { guestDir: guest.folder, distDir: dist.folder };
}

/** @param {boolean} forTests */
async function provideSystemParts(forTests) {
  const missing = missingSystemParts({ forTests });
  if (missing.length === 0) return undefined;
  await installSystemParts(missing);
  return missing.map(({ packageName }) => packageName).join(", ");
}

async function provideNpmPackages() {
  if (await npmPackagesPresent(ROOT)) return false;
  await installNpmPackages(ROOT);
  return true;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const start = performance.now();
  try {
    await prepare();
    console.log(`ready after ${seconds(performance.now() - start)}. Next: npm run demo`);
  } catch (error) {
    console.error(`set-up failed: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
