import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VM_STATES } from "../../../src/contract/vm-state.ts";
import { AGAIN_LETTER, ENDED_STATES, itemState, LIVE_STATES, lettersOf } from "../../../src/queue/batch-states.ts";

const STATES = ["listed", "skipped", ...VM_STATES] as const;

test("the scripts have the same letters, and the same states are ends there", () => {
  const lua = readFileSync("src/queue/lua/include/batch.lua", "utf8");
  const table = (name: string) => new RegExp(`local ${name} = \\{([^}]*)\\}`).exec(lua)?.[1] ?? "";
  const letters = new Map(
    [...table("LETTERS").matchAll(/(\w+) = "(\w)"/g)].map(([, state, letter]) => [state, letter]),
  );
  expect(letters.get("again")).toBe(AGAIN_LETTER);
  expect(letters.size).toBe(STATES.length + 1);
  expect(new Set(letters.values()).size).toBe(letters.size);
  for (const state of STATES) {
    const letter = letters.get(state) ?? "";
    expect(itemState(letter)).toBe(state);
    expect(lettersOf([state])).toBe(state === "listed" ? `${letter}${AGAIN_LETTER}` : letter);
  }
  expect([...table("ENDED").matchAll(/(\w+) = true/g)].map(([, state]) => state)).toEqual([...ENDED_STATES]);
});

test("every state of an item is listed, live or ended", () => {
  expect(new Set(["listed", ...LIVE_STATES, ...ENDED_STATES])).toEqual(new Set(STATES));
  expect(1 + LIVE_STATES.length + ENDED_STATES.length).toBe(STATES.length);
  expect(() => itemState("?")).toThrow(RangeError);
});
