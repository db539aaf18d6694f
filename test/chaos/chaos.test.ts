import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { buildDrover } from "../cli/drover-process.ts";
import { figuresOf, formatFigures } from "./figures.ts";
import { makePlan, planOptions } from "./plan.ts";
import { describeViolations, runChaos } from "./run.ts";

/** Plans that have found something once; their interleaving may be another one this time. `npm run soak` draws new ones. */
const Regressions = z.array(z.strictObject({ seed: z.string(), runS: z.number(), found: z.string() }));
const regressions = Regressions.parse(JSON.parse(readFileSync(join(import.meta.dirname, "regressions.json"), "utf8")));

/** With it the run sees, among other things, when the guard of a killed worker does nothing. */
const EVERY_TIME = { seed: "12", runS: 25 };

beforeAll(buildDrover, 60_000);

async function run(seed: string, runS: number): Promise<void> {
  const result = await runChaos(makePlan(planOptions({ seed, runS })));
  const figures = figuresOf(result.history, result.violations);
  process.stdout.write(`seed ${seed}\n${formatFigures(figures, { runs: 1, minutes: runS / 60 })}\n`);
  expect(result.violations, describeViolations(result)).toEqual([]);
  expect(figures.accepted, "a run in which nothing was accepted shows nothing").toBeGreaterThan(runS);
  expect(Object.keys(figures.faults).length, "nor does one without faults").toBeGreaterThan(3);
}

test.each(regressions)("API, two hosts and Redis under faults; seed $seed once found: $found", async ({ seed, runS }) =>
  run(seed, runS),
);

test("API, two hosts and Redis under faults: nothing lost, twice, left behind or disturbed", async () =>
  run(EVERY_TIME.seed, EVERY_TIME.runS));

test("Redis loses all its data under load: live VMs go on, nothing runs twice", async () => run("every-time-loss", 10));
