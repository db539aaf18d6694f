import type { History } from "./commands.ts";
import { Fleet } from "./fleet.ts";
import { scan } from "./scan.ts";
import { World } from "./sim/world.ts";
import { takeOverTime } from "./sim/virtual-time.ts";

/** Every back-off, avoided host and pause of a breaker is over after this time without faults. */
const SETTLE_MAX_MS = 420_000;
const LOOK_MS = 1_000;
const EMPTY_MAX_MS = 120_000;

let world = new World({ seed: 0 });

/** Between this and its end all time of the process is virtual. */
export function openModel(): { close(): void } {
  const giveBack = takeOverTime(() => world);
  return { close: giveBack };
}

export interface Told {
  /** What happened, line by line, where it was asked for. */
  readonly story: readonly string[];
  readonly overlaps: number;
  readonly steps: number;
  readonly virtualMs: number;
}

/**
 * Lets a history happen, heals everything, waits until all is settled, removes every VM and looks whether anything is
 * left. Throws at the first thing that must not be.
 */
export async function runHistory(history: History, onStory?: (line: string[]) => void): Promise<Told> {
  world = new World({ seed: history.chance, isTold: onStory !== undefined });
  onStory?.(world.story ?? []);
  const fleet = new Fleet(world, history);
  const { truth } = fleet;
  const check = () => truth.check();
  await world.run(500, check);
  for (const command of history.commands) {
    fleet.carryOut(command);
    await world.run(command.gapMs, check);
  }
  fleet.healAll();
  await settle(fleet, "settled", SETTLE_MAX_MS);
  await settle(fleet, "empty", EMPTY_MAX_MS);
  return { story: world.story ?? [], overlaps: truth.overlaps, steps: world.steps, virtualMs: world.nowMs };
}

async function settle(fleet: Fleet, wanted: "settled" | "empty", maxMs: number): Promise<void> {
  const untilMs = world.nowMs + maxMs;
  for (;;) {
    if (wanted === "empty") fleet.removeAll(); // as often as it takes: a client that gets no answer asks again
    await world.run(LOOK_MS, () => fleet.truth.check());
    const found = scan(fleet, wanted);
    if (found.length === 0) return;
    if (world.nowMs >= untilMs) throw new Error(`I5/I11: not ${wanted} after ${maxMs / 1000} s:\n  ${found.join("\n  ")}`);
  }
}
