import type { BatchItem } from "../contract/batch.ts";
import type { VmState } from "../contract/vm-state.ts";

/** The state of an item: `listed` and `skipped` are the batch's own, all others are its VM's. */
export type ItemState = BatchItem["state"];

/**
 * One letter for each item stands in the text `states` of its batch, at the item's place: what the list, the feeder and
 * the scripts (lua/include/batch.lua has the same table) go by. `again` is an item that has failed and is listed once
 * more; it counts as listed.
 */
const LETTERS: Readonly<Record<ItemState | "again", string>> = {
  listed: "l",
  again: "a",
  skipped: "s",
  queued: "q",
  preparing: "p",
  starting: "b",
  running: "r",
  ready: "y",
  stopping: "t",
  retrying: "w",
  completed: "c",
  removed: "d",
  expired: "e",
  failed: "f",
};

const STATES = new Map<string, ItemState>(
  Object.entries(LETTERS).map(([state, letter]) => [letter, state === "again" ? "listed" : (state as ItemState)]),
);

export const AGAIN_LETTER = LETTERS.again;

/** The states in which an item moves no more by itself. */
export const ENDED_STATES = ["skipped", "completed", "removed", "expired", "failed"] as const;
/** The states of items whose VM has a place in the queue or a host. */
export const LIVE_STATES = [
  "queued",
  "preparing",
  "starting",
  "running",
  "ready",
  "stopping",
  "retrying",
] as const satisfies readonly VmState[];

/** What a letter stands for. Throws a RangeError for one that this version does not know. */
export function itemState(letter: string): ItemState {
  const state = STATES.get(letter);
  if (state === undefined) throw new RangeError(`no state of an item has the letter ${JSON.stringify(letter)}`);
  return state;
}

/** The letters of some states, `again` with `listed`. */
export function lettersOf(states: readonly ItemState[]): string {
  return states.map((state) => (state === "listed" ? `${LETTERS.listed}${LETTERS.again}` : LETTERS[state])).join("");
}
