#!/usr/bin/env node
// `npm test`: prepares the machine, then checks and tests everything, or with arguments only those tests, for example
// `npm test -- test/unit/runtime` or `npm test -- -t "gives back its port"`.
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { seconds } from "./prepare/step.mjs";
import { prepare } from "./setup.mjs";
import { runCheck, runVitest } from "./test/groups.mjs";

/** Checks in order, the quickest first. */
const CHECKS = {
  lint: ["biome", "ci", `--colors=${process.stdout.isTTY ? "force" : "off"}`, "."],
  types: ["tsc", "--noEmit"],
  "page types": ["tsc", "-p", "tsconfig.console.json"],
  unused: ["knip"],
};
/** The projects of vitest.config.ts in order: what needs little first, whole machines last. */
const PROJECTS = ["unit", "model", "redis", "cli", "qemu", "guest", "pages", "e2e", "chaos", "container"];

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const args = process.argv.slice(2);

try {
  await prepare({ quiet: true, forTests: true });
  const groups = args.length > 0 ? [await runVitest(root, "chosen tests", args)] : await runEverything();
  report(groups);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  console.log("0 passed, 1 failed");
  process.exitCode = 1;
}

async function runEverything() {
  const groups = [];
  for (const [name, command] of Object.entries(CHECKS)) {
    console.log(`\n== ${name}: ${command.join(" ")}`);
    groups.push(await runCheck(root, name, command));
  }
  for (const project of PROJECTS) {
    console.log(`\n== ${project} tests`);
    groups.push(await runVitest(root, project, ["--project", project, "--passWithNoTests"]));
  }
  return groups;
}

/** @param {readonly import("./test/groups.mjs").Group[]} groups */
function report(groups) {
  const sum = (/** @type {"passed" | "failed"} */ key) => groups.reduce((total, { counts }) => total + counts[key], 0);
  const [passed, failed] = [sum("passed"), sum("failed")];
  console.log("");
  const skipped = groups.flatMap(({ counts }) => counts.skipped);
  for (const { name, reason } of skipped) {
    // Whoever chose some tests has left out the others himself.
    if (args.length === 0 || reason !== undefined) console.log(`skipped: ${name}: ${reason ?? "no reason given"}`);
  }
  for (const { name, counts, milliseconds } of groups) {
    const verdict =
      counts.failed > 0 ? `${counts.failed} failed` : counts.passed > 0 ? `${counts.passed} passed` : "ok";
    console.log(`${name.padEnd(14)} ${verdict.padEnd(12)} ${seconds(milliseconds).padStart(8)}`);
  }
  if (passed + failed === 0) console.log("no test ran");
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}
