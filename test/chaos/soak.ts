/**
 * Runs chaos for as long as one likes, and ends with a page of figures:
 *
 *     npm run soak -- [--minutes 5] [--seed S] [--run-s 60] [--runs N] [--ops-per-s 8] [--bin PATH] [--json FILE]
 *     npm run soak -- --check HISTORY
 *
 * Without a seed it draws one and prints it. Each run has the seed `S.1`, `S.2`, ...; one that ends in `-loss` has
 * Redis lose its data. A run that finds something keeps its history and prints the line that repeats its plan.
 */

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkAll } from "./checkers/all.ts";
import { addUp, type Figures, figuresOf, formatFigures } from "./figures.ts";
import { readHistory } from "./history.ts";
import { describePlan, makePlan, planOptions } from "./plan.ts";
import { describeViolations, runChaos } from "./run.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string" },
    "run-s": { type: "string", default: "60" },
    runs: { type: "string" },
    "ops-per-s": { type: "string" },
    "fault-gap-ms": { type: "string" },
    bin: { type: "string" },
    keep: { type: "boolean", default: false },
    check: { type: "string" },
    json: { type: "string" },
  },
});

/** Among so many runs there is one in which Redis loses its data. */
const LOSS_EVERY = 8;

if (values.check === undefined) await soak();
else recheck(values.check);

async function soak(): Promise<void> {
  const seed = values.seed ?? String(Date.now() % 1_000_000);
  const runs = values.runs === undefined ? Number.POSITIVE_INFINITY : Number(values.runs);
  const startedMs = performance.now();
  const minutes = () => (performance.now() - startedMs) / 60_000;
  const all: Figures[] = [];
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interrupted.abort()); // Ctrl-C reaches us twice under npm
  print(`soak with seed ${seed}`);
  for (let run = 1; run <= runs && (runs < Number.POSITIVE_INFINITY || minutes() < Number(values.minutes)); run++) {
    const runSeed = runs === 1 ? seed : `${seed}.${run}${run % LOSS_EVERY === 0 ? "-loss" : ""}`;
    const plan = makePlan(
      planOptions({
        failPoints: true,
        seed: runSeed,
        runS: Number(values["run-s"]),
        opsPerS: values["ops-per-s"] === undefined ? undefined : Number(values["ops-per-s"]),
        faultGapMs: values["fault-gap-ms"] === undefined ? undefined : Number(values["fault-gap-ms"]),
      }),
    );
    print(runs === 1 ? describePlan(plan) : (describePlan(plan).split("\n")[0] ?? ""));
    const result = await runChaos(plan, { bin: values.bin, keep: values.keep, signal: interrupted.signal }).catch(
      (error: unknown) => {
        if (!interrupted.signal.aborted) throw error;
      },
    );
    if (result === undefined) break;
    all.push(figuresOf(result.history, result.violations));
    if (result.violations.length > 0) print(describeViolations(result));
  }
  const total = addUp(all);
  print(`\n${formatFigures(total, { runs: all.length, minutes: minutes() })}`);
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ seed, runs: all.length, ...total }, null, 2)}\n`);
  process.exitCode = total.violations === 0 ? 0 : 1;
}

/** Lets the checkers of now look at a history of then. */
function recheck(file: string): void {
  const history = readHistory(file);
  const violations = checkAll(history);
  for (const { invariant, vmId, message } of violations) print(`${invariant} ${vmId ?? ""} ${message}`);
  print(
    formatFigures(figuresOf(history, violations), {
      runs: 1,
      minutes: ((history.at(-1)?.t ?? 0) - (history[0]?.t ?? 0)) / 60_000,
    }),
  );
  process.exitCode = violations.length === 0 ? 0 : 1;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
