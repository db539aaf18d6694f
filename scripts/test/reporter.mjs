// A reporter for vitest that counts what the usual ones leave out: a file that could not be loaded, a hook that failed, a
// promise that nobody handled. It also says why a test was skipped.
import { writeFileSync } from "node:fs";

/**
 * @typedef {object} Counts
 * @property {number} passed
 * @property {number} failed
 * @property {{ name: string, reason?: string }[]} skipped
 */

/** Where the counts go: vitest runs in a process of its own. */
export const REPORT_VARIABLE = "DROVER_TEST_REPORT";

/** @public vitest loads it by its path */
export default class CountingReporter {
  /**
   * @param {readonly import("vitest/node").TestModule[]} modules
   * @param {readonly unknown[]} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    /** @type {Counts} */
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: [] };
    for (const module of modules) {
      counts.failed += module.errors().length;
      for (const suite of module.children.allSuites()) counts.failed += suite.errors().length;
      for (const test of module.children.allTests()) count(counts, test);
    }
    const path = process.env[REPORT_VARIABLE];
    if (path !== undefined) writeFileSync(path, JSON.stringify(counts));
  }
}

/**
 * @param {Counts} counts
 * @param {import("vitest/node").TestCase} test
 */
function count(counts, test) {
  const result = test.result();
  if (result.state === "passed") counts.passed += 1;
  else if (result.state === "skipped") {
    counts.skipped.push({ name: `${test.module.relativeModuleId} > ${test.fullName}`, reason: result.note });
  } else counts.failed += 1; // a test that never ended is no success either
}
