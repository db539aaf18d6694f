#!/usr/bin/env node
// `npm run test:mutants`: breaks the source on purpose, one break at a time and in a copy, and sees whether the tests
// notice. `-- --only TEXT` takes the breaks whose name has the text, `-- --lanes N` runs N copies side by side.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { TreeCopy } from "./mutants/tree-copy.mjs";
import { whyAlive, whyNotGreen } from "./mutants/verdict.mjs";
import { seconds } from "./prepare/step.mjs";

/**
 * @typedef {import("../test/mutants/mutant.ts").Mutant} Mutant
 * @typedef {import("../test/mutants/mutant.ts").Killer} Killer
 * @typedef {{ name: string, problem: string | undefined, milliseconds: number, by: string }} Outcome
 */

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
/** What stands still because of a break must not hold up the rest. */
const RUN_MAX_MS = { unit: 60_000, redis: 90_000, qemu: 120_000, pages: 180_000, e2e: 240_000 };
/** Projects whose tests start machines: one run of theirs at a time. */
const HEAVY = new Set(["qemu", "pages", "e2e"]);

const { values } = parseArgs({ options: { only: { type: "string" }, lanes: { type: "string", default: "2" } } });
if (!existsSync(join(ROOT, "node_modules"))) {
  console.error("packages are missing: run `npm run setup` first");
  process.exit(1);
}
const { tsImport } = await import("tsx/esm/api");
/** @type {{ MUTANTS: readonly Mutant[] }} */
const { MUTANTS } = await tsImport("../test/mutants/all.ts", import.meta.url);
const mutants = MUTANTS.filter(({ name }) => name.includes(values.only ?? ""));

const copies = Array.from({ length: Math.max(1, Number(values.lanes)) }, () => new TreeCopy(ROOT));
process.once("SIGINT", () => {
  for (const copy of copies) copy.dispose();
  process.exit(130);
});
let heavy = Promise.resolve();
try {
  process.exitCode = (await main()) ? 0 : 1;
} finally {
  for (const copy of copies) copy.dispose();
}

/** @returns {Promise<boolean>} */
async function main() {
  const start = performance.now();
  const stale = mutants.flatMap(checkText);
  const fresh = mutants.filter(({ name }) => stale.every((outcome) => outcome.name !== name));
  const red = await inLanes(filesOf(fresh.flatMap(({ killers }) => killers)), checkGreen);
  const unusable = new Map(red.flatMap(({ problem, by }) => (problem === undefined ? [] : [[by, problem]])));
  console.log(`the tests pass on the source as it is: ${red.length - unusable.size} of ${red.length} files`);
  const outcomes = [...stale, ...(await inLanes(fresh, (copy, mutant) => runMutant(copy, mutant, unusable)))];
  const failed = outcomes.filter(({ problem }) => problem !== undefined);
  for (const { name, problem } of failed) console.log(`\nNOT CAUGHT: ${name}\n  ${problem}`);
  console.log(`\nin ${seconds(performance.now() - start)}`);
  console.log(`${outcomes.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 && outcomes.length > 0;
}

/**
 * A break whose text is not there any more, or there twice, or which changes nothing, proves nothing.
 * @param {Mutant} mutant
 * @returns {Outcome[]}
 */
function checkText({ name, file, before, after, killers }) {
  const count = readFileSync(join(ROOT, file), "utf8").split(before).length - 1;
  const problem =
    count !== 1
      ? `stale: its text stands ${count} times in ${file}`
      : before === after || killers.length === 0
        ? "it changes nothing, or nobody is to see it"
        : undefined;
  return problem === undefined ? [] : [{ name, problem, milliseconds: 0, by: "" }];
}

/**
 * @param {TreeCopy} copy
 * @param {readonly Killer[]} killers of one file
 * @returns {Promise<Outcome>}
 */
async function checkGreen(copy, killers) {
  const file = killers[0]?.file ?? "";
  const { milliseconds, report } = await run(copy, killers);
  return { name: file, by: file, milliseconds, problem: whyNotGreen(report, killers) };
}

/**
 * @param {TreeCopy} copy
 * @param {Mutant} mutant
 * @param {ReadonlyMap<string, string>} unusable files whose tests fail anyway
 * @returns {Promise<Outcome>}
 */
async function runMutant(copy, mutant, unusable) {
  /** @type {Outcome} */
  const outcome = { name: mutant.name, problem: undefined, milliseconds: 0, by: "" };
  await copy.changed(mutant, async () => {
    for (const killers of filesOf(mutant.killers)) {
      const file = killers[0]?.file ?? "";
      const { milliseconds, report } = await run(copy, killers);
      outcome.milliseconds += milliseconds;
      outcome.by += `${outcome.by === "" ? "" : ", "}${file.replace(/^test\/|\.test\.ts$/g, "")}`;
      const broken = unusable.get(file);
      outcome.problem ??=
        broken === undefined ? whyAlive(report, killers) : `${file} fails without the break: ${broken}`;
    }
  });
  const verdict = outcome.problem === undefined ? "caught" : "ALIVE ";
  console.log(`${verdict}  ${seconds(outcome.milliseconds).padStart(7)}  ${mutant.name.padEnd(78)} ${outcome.by}`);
  return outcome;
}

/**
 * @param {TreeCopy} copy
 * @param {readonly Killer[]} killers of one file
 */
async function run(copy, killers) {
  const [{ project = "unit", file = "" } = {}] = killers;
  const order = {
    project,
    file,
    tests: [...new Set(killers.map(({ test }) => test))],
    timeoutMs: RUN_MAX_MS[project],
  };
  const go = async () => {
    const start = performance.now();
    const report = await copy.vitest(order);
    return { report, milliseconds: performance.now() - start };
  };
  if (!HEAVY.has(project)) return go();
  const turn = heavy.then(go);
  heavy = turn.then(() => undefined);
  return turn;
}

/**
 * @param {readonly Killer[]} killers
 * @returns {Killer[][]} those of each file together
 */
function filesOf(killers) {
  /** @type {Map<string, Killer[]>} */
  const files = new Map();
  for (const killer of killers) files.set(killer.file, [...(files.get(killer.file) ?? []), killer]);
  return [...files.values()];
}

/**
 * @template T, R
 * @param {readonly T[]} items
 * @param {(copy: TreeCopy, item: T) => Promise<R>} work
 * @returns {Promise<R[]>} in the order of the items
 */
async function inLanes(items, work) {
  /** @type {R[]} */
  const results = [];
  const left = [...items.entries()];
  await Promise.all(
    copies.map(async (copy) => {
      for (let next = left.shift(); next !== undefined; next = left.shift())
        results[next[0]] = await work(copy, next[1]);
    }),
  );
  return results;
}
