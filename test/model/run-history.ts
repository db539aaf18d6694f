import type { History } from "./commands.ts";
import { Fleet } from "./fleet.ts";
import { scan } from "./scan.ts";
import { takeOverTime } from "./sim/virtual-time.ts";
import { World } from "./sim/world.ts";

/** Every back-off, avoided host and pause of a breaker is over after this time without faults. */
const SETTLE_MAX_MS = 420_000;
const EMPTY_MAX_MS = 120_000;
const LOOK_MS = 1_000;
/** How long the hosts have to start before the first command. */
const START_MS = 500;
const STORY_LINES = 120;

let world = new World({ seed: 0 });

/** Between this and its end all time of the process is virtual: `using model = openModel()`. */
export function openModel(): Disposable {
  const giveBack = takeOverTime(() => world);
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // aborts and refusals are many, and nobody reads where they come from
  return {
    [Symbol.dispose]() {
      Error.stackTraceLimit = stackTraceLimit;
      giveBack();
    },
  };
}

export interface HistoryOptions {
  /** A violation says what led to it. */
  readonly isTold?: boolean;
  readonly breakScript?: ((text: string) => string) | undefined;
}

/**
 * Lets a history happen, heals everything, waits until all is settled, removes every VM and looks whether anything is
 * left. Throws at the first thing that must not be. Gives how many copies of a cut-off live host were seen.
 */
export async function runHistory(history: History, options: HistoryOptions = {}): Promise<number> {
  const { isTold = false, breakScript } = options;
  world = new World({ seed: history.chance, isTold });
  const fleet = new Fleet(world, history, breakScript);
  const check = () => fleet.step();
  try {
    await world.run(START_MS, check);
    for (const command of history.commands) {
      fleet.carryOut(command);
      await world.run(command.gapMs, check);
    }
    fleet.healAll();
    await settle(fleet, "settled", SETTLE_MAX_MS);
    await settle(fleet, "empty", EMPTY_MAX_MS);
    return fleet.truth.overlaps;
  } catch (error) {
    if (world.story === undefined || !(error instanceof Error)) throw error;
    throw new Error(`${error.message}\n\n${world.story.slice(-STORY_LINES).join("\n")}`, { cause: error });
  }
}

async function settle(fleet: Fleet, wanted: "settled" | "empty", maxMs: number): Promise<void> {
  const untilMs = world.nowMs + maxMs;
  for (;;) {
    if (wanted === "empty")
      fleet.removeAll(); // as often as it takes: a client that gets no answer asks again
    else fleet.openAll();
    await world.run(LOOK_MS, () => fleet.step());
    const found = scan(fleet, wanted);
    if (found.length === 0) return;
    if (world.nowMs >= untilMs)
      throw new Error(`I5, I11: not ${wanted} after ${maxMs / 1000} s without faults:\n  ${found.join("\n  ")}`);
  }
}
