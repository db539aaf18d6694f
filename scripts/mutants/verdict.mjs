/**
 * @typedef {import("../../test/mutants/mutant.ts").Killer} Killer
 * @typedef {import("./reporter.mjs").Report} Report
 */

/** A mutant that is no program any more proves nothing, nor does a test that ran into its own time limit. */
const NO_EVIDENCE =
  /^(SyntaxError|ReferenceError)|Transform failed|Failed to load|compiling script|nonexistent global variable|Test timed out in|Hook timed out in/;

/**
 * Why the killers have not killed, or undefined when they have: each of them failed, by an error that is evidence.
 * @param {Report | undefined} report undefined: vitest ended without one, or its time was up
 * @param {readonly Killer[]} killers
 * @returns {string | undefined}
 */
export function whyAlive(report, killers) {
  if (report === undefined) return "no verdict: vitest gave no report in its time";
  const [broken] = report.broken;
  if (broken !== undefined && report.tests.every(({ state }) => state !== "failed"))
    return `no verdict: no test came to run: ${firstLine(broken)}`;
  for (const killer of killers) {
    const runs = runsOf(report, killer);
    if (runs.length === 0) return `no test "${killer.test}" ran in ${killer.file}`;
    const failed = runs.filter(({ state }) => state === "failed");
    if (failed.length === 0) return `survived "${killer.test}"`;
    const evidence = failed.filter(({ errors }) => errors.some((error) => !NO_EVIDENCE.test(error)));
    if (evidence.length === 0) return `no verdict: "${killer.test}": ${firstLine(failed[0]?.errors[0] ?? "")}`;
  }
  return undefined;
}

/**
 * Why the killers say nothing about mutants: on the source as it is each of them must pass.
 * @param {Report | undefined} report
 * @param {readonly Killer[]} killers
 * @returns {string | undefined}
 */
export function whyNotGreen(report, killers) {
  if (report === undefined) return "vitest gave no report in its time";
  const [broken] = report.broken;
  if (broken !== undefined) return firstLine(broken);
  for (const killer of killers) {
    const runs = runsOf(report, killer);
    if (runs.length === 0) return `there is no test "${killer.test}"`;
    const red = runs.find(({ state }) => state !== "passed");
    if (red !== undefined) return `"${red.name}" is ${red.state}: ${firstLine(red.errors[0] ?? "")}`;
  }
  return undefined;
}

/** @param {Report} report @param {Killer} killer */
function runsOf({ tests }, { file, test }) {
  return tests.filter((run) => run.file === file && run.name.includes(test));
}

/** @param {string} text */
function firstLine(text) {
  return text.split("\n")[0]?.slice(0, 200);
}
