import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { History } from "./commands.ts";
import { findFailure, historyOf, problemOf } from "./find-failure.ts";
import { openModel } from "./run-history.ts";

/** The same ones every time, so that a change can be told from bad luck; and some that nobody has seen yet. */
const FIXED = 1_600;
const FRESH = 400;
const FIRST_SEED = 1;
/** A break is noticed long before. */
const BROKEN_MAX = 600;
const STARTED_AT_MS = Date.now(); // before time is virtual
const wantedSeed = process.env["SEED"];
const histories = Number(process.env["DROVER_HISTORIES"] ?? FIXED + FRESH);

interface Kept {
  readonly seed: number;
  readonly found: string;
  readonly history: History;
}
const kept = JSON.parse(readFileSync(new URL("regressions.json", import.meta.url), "utf8")) as readonly Kept[];

let model: Disposable;
beforeAll(() => {
  model = openModel();
});
afterAll(() => model[Symbol.dispose]());

test.runIf(wantedSeed === undefined)("histories that have failed once", async () => {
  for (const { seed, found, history } of kept) {
    const problem = await problemOf(history, { isTold: true });
    if (problem !== undefined) throw new Error(`again: ${found} (seed ${seed})\n${problem}`);
  }
});

test.runIf(wantedSeed !== undefined)(`the history of seed ${wantedSeed}`, async () => {
  const failure = await findFailure(Number(wantedSeed));
  if (failure !== undefined) throw new Error(failure);
});

test.runIf(wantedSeed === undefined)("whatever happens, the invariants hold", { timeout: 600_000 }, async () => {
  const today = Math.floor(STARTED_AT_MS / 86_400_000);
  const seeds = Array.from({ length: histories }, (_, at) =>
    at < FIXED ? FIRST_SEED + at : 1_000_000 + (today % 1_000) * 1_000_000 + at,
  );
  const before = process.cpuUsage();
  for (const seed of seeds) {
    const failure = await findFailure(seed);
    if (failure !== undefined) throw new Error(failure);
    if (seed % 50 === 0) await new Promise((resolve) => setImmediate(resolve)); // the test runner wants to live, too
  }
  const { user, system } = process.cpuUsage(before);
  const perMinute = Math.round((histories / (user + system)) * 60_000_000); // others may run beside it
  const fresh = seeds[FIXED] === undefined ? "" : `; fresh seeds from ${seeds[FIXED]} on`;
  process.stdout.write(`model: ${histories} histories, ${perMinute} in a minute of one core${fresh}\n`);
});

/**
 * What the model is there to notice: a text of some script, and what stands there instead. Breaks that another fence or
 * the next reconcile makes good are not among them: those have a test and a mutant of their own.
 */
const BREAKS: readonly (readonly [name: string, text: string, instead: string])[] = [
  ["a mark keeps no VM out of a launch", 'if args.launch and redis.call("EXISTS", KEYS[4]) == 1', "if false"],
  [
    "an ended VM is told to be alive",
    'contains(args.final, state) and not retried then return { "final", digits(epoch) }',
    'false then return { "final", digits(epoch) }',
  ],
  ["a live VM that is told again still waits", 'redis.call("ZREM", KEYS[key], args.vmId) end', "local _ = key end"],
  [
    "the port of a live VM is not told again",
    'redis.call("HSET", KEYS[14], "p:" .. args.port, args.holder, "v:" .. args.vmId, args.port)',
    "",
  ],
  ["a VM that moves is not counted in its batch", "if of[2] then countVm(", "if false then countVm("],
  ["an accepted VM has no event", 'redis.call("XADD", eventsKey', 'redis.call("XADD", eventsKey .. "x"'],
];

test.runIf(wantedSeed === undefined).each(BREAKS)(
  "is red when %s",
  { timeout: 120_000 },
  async (_name, text, instead) => {
    let isBroken = false;
    const breakScript = (script: string) => {
      isBroken ||= script.includes(text);
      return script.replaceAll(text, instead);
    };
    for (let seed = 1; seed <= BROKEN_MAX; seed++) {
      if ((await problemOf(historyOf(seed), { breakScript })) !== undefined) return;
    }
    expect(isBroken, "the text to be broken is there").toBe(true);
    expect.fail(`${BROKEN_MAX} histories have not noticed it`);
  },
);
