import { expect, test } from "vitest";
import { CAUSE_CODES, CAUSES } from "../../../src/contract/causes.ts";
import { type EndFacts, planEnd } from "../../../src/worker/end-plan.ts";

const facts = (over: Partial<EndFacts>): EndFacts => ({
  end: { kind: "guest_ended", reason: "guest_shutdown" },
  guestResult: undefined,
  marked: undefined,
  attemptsMade: 0,
  attempts: 3,
  retryComputation: false,
  otherHosts: true,
  backoffMs: 1_000,
  backoffMaxMs: 10_000,
  nowMs: 1_000_000,
  crashes: [],
  isSuspect: true,
  random: 0.5,
  ...over,
});
const failure = (code: keyof typeof CAUSES) => ({ kind: "failure", cause: { code, message: "why" } }) as const;
const result = (exitCode: number) => ({ exitCode, payload: Buffer.from("x") });

test("a guest that powers itself off is completed, with its result", () => {
  expect(planEnd(facts({}))).toMatchObject({ outcome: "completed", exitCode: null, attemptsMade: 0 });
  expect(planEnd(facts({ guestResult: result(0) }))).toMatchObject({
    outcome: "completed",
    exitCode: 0,
    resultData: "eA==",
  });
});

test("an exit code other than 0 fails for good, unless the request wants another try", () => {
  const failed = planEnd(facts({ guestResult: result(7) }));
  expect(failed).toMatchObject({
    outcome: "failed",
    cause: { code: "computation_failed" },
    exitCode: 7,
    attemptsMade: 1,
  });
  expect(planEnd(facts({ guestResult: result(7), retryComputation: true }))).toMatchObject({
    outcome: "retrying",
    attemptsMade: 1,
  });
});

test("the delay doubles with each attempt, is cut, and its upper half is random", () => {
  const delay = (attemptsMade: number, random: number) =>
    planEnd(facts({ end: failure("boot_timeout"), attempts: 20, attemptsMade, random })).delayMs;
  expect([delay(0, 0), delay(0, 1), delay(1, 0), delay(1, 1), delay(2, 1)]).toEqual([500, 1_000, 1_000, 2_000, 4_000]);
  expect([delay(9, 0), delay(9, 1)]).toEqual([5_000, 10_000]);
});

test("the last attempt fails", () => {
  expect(planEnd(facts({ end: failure("boot_timeout"), attemptsMade: 2 }))).toMatchObject({
    outcome: "failed",
    attemptsMade: 3,
  });
});

test("a host's own fault uses no attempt and keeps the VM away from the host, while another could take it", () => {
  expect(planEnd(facts({ end: failure("kernel_missing"), attemptsMade: 1 }))).toMatchObject({
    outcome: "requeued",
    attemptsMade: 1,
    avoidUntilMs: 1_000_000 + 300_000,
  });
  expect(planEnd(facts({ end: failure("kernel_missing"), otherHosts: false }))).toMatchObject({
    outcome: "failed",
    cause: { code: "kernel_missing" },
  });
});

test("a machine or worker that went down may take the VM again itself", () => {
  for (const code of ["host_shutdown", "worker_crashed", "ports_exhausted"] as const) {
    expect(planEnd(facts({ end: failure(code), otherHosts: false })), code).toMatchObject({
      outcome: "requeued",
      avoidUntilMs: null,
      attemptsMade: 0,
    });
  }
});

test("a release uses no attempt; a removal mark turns every way back into an end", () => {
  expect(planEnd(facts({ end: { kind: "stopped", reason: "released" }, attemptsMade: 1 }))).toMatchObject({
    outcome: "released",
    attemptsMade: 1,
  });
  for (const end of [
    failure("boot_timeout"),
    failure("kernel_missing"),
    { kind: "stopped", reason: "released" } as const,
  ]) {
    expect(planEnd(facts({ end, marked: "requested" })).outcome).toBe("removed");
    expect(planEnd(facts({ end, marked: "ttl" }))).toMatchObject({ outcome: "expired", reason: "ttl" });
  }
});

test("a guest that ended well before its removal was heeded is completed", () => {
  expect(planEnd(facts({ marked: "requested" })).outcome).toBe("completed");
});

test("every cause of the catalogue leads to one plan, and only a retry or requeue delays", () => {
  for (const code of CAUSE_CODES) {
    const plan = planEnd(facts({ end: failure(code) }));
    const expected = { never: "failed", backoff: "retrying", "same-attempt": "retrying", requeue: "requeued" }[
      CAUSES[code].retry
    ];
    expect(plan.outcome, code).toBe(expected);
    expect(plan.delayMs > 0, code).toBe(plan.outcome !== "failed");
  }
});
