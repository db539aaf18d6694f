// A reporter for vitest that says of every test how it went and why, so that a broken test can be told from a failing one.
import { writeFileSync } from "node:fs";

/**
 * @typedef {{ name: string, file: string, state: string, errors: string[] }} TestRun
 * @typedef {{ tests: TestRun[], broken: string[] }} Report `broken`: what failed outside of any test
 */

/** Where the report goes: vitest runs in a process of its own. */
export const REPORT_VARIABLE = "DROVER_MUTANT_REPORT";

/** @public vitest loads it by its path */
export default class MutantReporter {
  /**
   * @param {readonly import("vitest/node").TestModule[]} modules
   * @param {readonly { name?: string, message?: string }[]} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    /** @type {Report} */
    const report = { tests: [], broken: unhandledErrors.map(textOf) };
    for (const module of modules) {
      report.broken.push(...module.errors().map(textOf));
      for (const suite of module.children.allSuites()) report.broken.push(...suite.errors().map(textOf));
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        report.tests.push({
          name: test.fullName,
          file: module.relativeModuleId,
          state,
          errors: (errors ?? []).map(textOf),
        });
      }
    }
    const path = process.env[REPORT_VARIABLE];
    if (path !== undefined) writeFileSync(path, JSON.stringify(report));
  }
}

/** @param {{ name?: string, message?: string }} error */
function textOf({ name, message }) {
  return `${name}: ${message}`;
}
