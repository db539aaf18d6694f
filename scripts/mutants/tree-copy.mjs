import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { REPORT_VARIABLE } from "./reporter.mjs";

/** What a test run reads. */
const PARTS = ["src", "test", "bin", "package.json", "tsconfig.json", "vitest.config.ts"];
const REPORTER = fileURLToPath(new URL("./reporter.mjs", import.meta.url));

/** A copy of the tree in which files may be broken. It has a temporary directory of its own, by which what is left is found. */
export class TreeCopy {
  /** @param {string} root */
  constructor(root) {
    this.dir = mkdtempSync(join(tmpdir(), "dm-")); // short: socket paths below have a bound
    this.tree = join(this.dir, "tree");
    this.tmp = join(this.dir, "t");
    for (const part of PARTS) cpSync(join(root, part), join(this.tree, part), { recursive: true });
    // Each package by a link of its own, so that vitest's cache is not the working tree's.
    mkdirSync(join(this.tree, "node_modules"));
    for (const name of readdirSync(join(root, "node_modules"))) {
      if (name.startsWith(".vite")) continue;
      symlinkSync(join(root, "node_modules", name), join(this.tree, "node_modules", name));
    }
    mkdirSync(this.tmp);
  }

  /**
   * Runs with a file changed, and puts it back.
   * @template T
   * @param {{ file: string, before: string, after: string }} change
   * @param {() => Promise<T>} work
   */
  async changed({ file, before, after }, work) {
    const path = join(this.tree, file);
    const text = readFileSync(path, "utf8");
    writeFileSync(
      path,
      text.replace(before, () => after),
    );
    try {
      return await work();
    } finally {
      writeFileSync(path, text);
    }
  }

  /**
   * @param {{ project: string, file: string, tests: readonly string[], timeoutMs: number }} run
   * @returns {Promise<import("./reporter.mjs").Report | undefined>}
   */
  async vitest({ project, file, tests, timeoutMs }) {
    const report = join(this.dir, "report.json");
    rmSync(report, { force: true });
    const pattern = tests.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
    const args = ["run", `--reporter=${REPORTER}`, "--project", project, file, "-t", pattern];
    const child = spawn(join(this.tree, "node_modules/.bin/vitest"), args, {
      cwd: this.tree,
      detached: true, // a group of its own, to be ended as one
      stdio: "ignore",
      env: { ...process.env, TMPDIR: this.tmp, [REPORT_VARIABLE]: report },
    });
    const timer = setTimeout(() => killGroup(child.pid), timeoutMs);
    await new Promise((resolve) => child.once("close", resolve).once("error", resolve));
    clearTimeout(timer);
    this.#killLeftovers();
    try {
      return JSON.parse(readFileSync(report, "utf8"));
    } catch {
      return undefined; // it was killed, or never came so far
    }
  }

  dispose() {
    this.#killLeftovers();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A broken drover may leave QEMUs, guards and workers behind: all of them name a path of this copy. */
  #killLeftovers() {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      const commandLine = readCommandLine(pid);
      if (commandLine.includes(`${this.dir}/`) && Number(pid) !== process.pid) kill(Number(pid));
    }
    rmSync(this.tmp, { recursive: true, force: true });
    mkdirSync(this.tmp);
  }
}

/** @param {string} pid */
function readCommandLine(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return ""; // it has ended since
  }
}

/** @param {number | undefined} pid */
function killGroup(pid) {
  if (pid !== undefined) kill(-pid);
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
