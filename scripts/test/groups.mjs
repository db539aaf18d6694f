import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { REPORT_VARIABLE } from "./reporter.mjs";

/**
 * @typedef {import("./reporter.mjs").Counts} Counts
 * @typedef {{ name: string, counts: Counts, milliseconds: number }} Group
 */

const HERE = dirname(fileURLToPath(import.meta.url));

/**
 * A check is one command that is silent about success: only its failure counts.
 * @param {string} root
 * @param {string} name
 * @param {readonly string[]} command name of a program of node_modules, and its arguments
 * @returns {Promise<Group>}
 */
export async function runCheck(root, name, [program = "", ...args]) {
  return timed(name, async () => {
    const code = await inherit(root, join(root, "node_modules/.bin", program), args);
    return { passed: 0, failed: code === 0 ? 0 : 1, skipped: [] };
  });
}

/**
 * @param {string} root
 * @param {string} name
 * @param {readonly string[]} args for vitest
 * @returns {Promise<Group>}
 */
export async function runVitest(root, name, args) {
  return timed(name, async () => {
    const folder = await mkdtemp(join(tmpdir(), "drover-test-"));
    try {
      const report = join(folder, "counts.json");
      const reporters = ["--reporter=default", `--reporter=${join(HERE, "reporter.mjs")}`];
      const vitest = join(root, "node_modules/.bin/vitest");
      const code = await inherit(root, vitest, ["run", ...reporters, ...args], { [REPORT_VARIABLE]: report });
      /** @type {Counts | undefined} */
      const counts = await readFile(report, "utf8").then(JSON.parse, () => undefined);
      // vitest says by its exit code what no test stands for, such as a project that does not exist.
      const unexplained = code !== 0 && !counts?.failed ? 1 : 0;
      return { passed: 0, skipped: [], ...counts, failed: (counts?.failed ?? 0) + unexplained };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

/**
 * @param {string} name
 * @param {() => Promise<Counts>} work
 * @returns {Promise<Group>}
 */
async function timed(name, work) {
  const start = performance.now();
  const counts = await work();
  return { name, counts, milliseconds: performance.now() - start };
}

/**
 * @param {string} root
 * @param {string} program
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [variables]
 * @returns {Promise<number>} exit code; a signal counts as 1
 */
function inherit(root, program, args, variables = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...variables } });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}
