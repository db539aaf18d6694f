import { describe, expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import { FINAL_STATES, isFinal, LAUNCH_STATES, VM_STATES, WAITING_STATES } from "../../../src/contract/vm-state.ts";
import { ALLOWED_FROM, assertMayMove, mayMove } from "../../../src/contract/vm-transition.ts";

describe("the life of a VM", () => {
  test("only a retry by hand leads out of a final state, and only out of failed", () => {
    const waysOut = FINAL_STATES.flatMap((from) =>
      VM_STATES.filter((to) => mayMove(from, to)).map((to) => `${from} -> ${to}`),
    );
    expect(waysOut).toEqual(["failed -> queued"]);
  });

  test("a launch goes through its states in one order", () => {
    expect(
      VM_STATES.filter((to) => mayMove("preparing", to) && (LAUNCH_STATES as readonly string[]).includes(to)),
    ).toEqual(["starting"]);
    expect(ALLOWED_FROM.running).toEqual(["starting"]);
    expect(ALLOWED_FROM.ready).toEqual(["running"]);
  });

  test("every state but the final ones can be left by removal", () => {
    for (const state of VM_STATES) expect(mayMove(state, "removed"), state).toBe(!isFinal(state));
  });

  test("a waiting VM can only be launched or ended", () => {
    for (const from of WAITING_STATES) {
      expect(VM_STATES.filter((to) => mayMove(from, to))).toEqual(["preparing", "removed", "expired", "failed"]);
    }
  });

  test("every state can be reached and an illegal move is an error that names both states", () => {
    const reached = new Set<string>(["queued"]);
    for (let grew = true; grew; ) {
      const before = reached.size;
      for (const to of VM_STATES)
        if ([...reached].some((from) => mayMove(from as (typeof VM_STATES)[number], to))) reached.add(to);
      grew = reached.size > before;
    }
    expect([...reached].sort()).toEqual([...VM_STATES].sort());
    expect(() => assertMayMove("completed", "running")).toThrow(DroverError);
    expect(() => assertMayMove("completed", "running")).toThrow(/'completed' to 'running'/);
  });
});
