import fc from "fast-check";
import { type History, histories } from "./commands.ts";
import { type HistoryOptions, runHistory } from "./run-history.ts";

/** A failing history is made smaller by at most so many tries. */
const SHRINK_TRIES_MAX = 300;

/** The one history of a seed. */
export function historyOf(seed: number): History {
  const [history] = fc.sample(fc.noBias(histories), { seed, numRuns: 1 });
  if (history === undefined) throw new Error("no history");
  return history;
}

/** Runs the history of a seed; what it gives is the message of a failed test, with the smallest history that fails so. */
export async function findFailure(seed: number, options: HistoryOptions = {}): Promise<string | undefined> {
  const first = await problemOf(historyOf(seed), options);
  if (first === undefined) return undefined;
  let tries = 0;
  const property = fc.asyncProperty(fc.noBias(histories), async (history) => {
    tries += 1;
    if (tries <= SHRINK_TRIES_MAX) await runHistory(history, options);
  });
  const { counterexample } = await fc.check(property, { seed, numRuns: 1 });
  const smallest = counterexample?.[0] ?? historyOf(seed);
  const problem = (await problemOf(smallest, { ...options, isTold: true })) ?? first;
  return `${problem}\n\n${describe(smallest)}\n\nrepeat it: SEED=${seed} npx vitest run --project model\n`;
}

/** Runs a history that was kept. */
export async function problemOf(history: History, options: HistoryOptions = {}): Promise<string | undefined> {
  try {
    await runHistory(history, options);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function describe({ commands, ...setting }: History): string {
  return [JSON.stringify(setting), ...commands.map((command) => `  ${JSON.stringify(command)}`)].join("\n");
}
