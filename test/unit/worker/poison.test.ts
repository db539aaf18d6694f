import { expect, test } from "vitest";
import { POISON_CRASHES, POISON_WINDOW_MS } from "../../../src/contract/limits.ts";
import { type EndFacts, planEnd } from "../../../src/worker/end-plan.ts";

const NOW_MS = 10 * POISON_WINDOW_MS;
/** A worker that died while it launched this VM, after others that died at these times. */
const crashed = (crashes: readonly number[], over: Partial<EndFacts> = {}) =>
  planEnd({
    end: { kind: "failure", cause: { code: "worker_crashed", message: "the worker died during this launch" } },
    guestResult: undefined,
    marked: undefined,
    attemptsMade: 0,
    attempts: 3,
    retryComputation: false,
    otherHosts: true,
    crashes,
    isSuspect: true,
    backoffMs: 1_000,
    backoffMaxMs: 10_000,
    nowMs: NOW_MS,
    random: 0.5,
    ...over,
  });
const recently = (count: number) => Array.from({ length: count }, (_, index) => NOW_MS - index - 1);

test("one death too many in a VM's launches is the VM's doing: it has failed for good as poisoned", () => {
  expect(crashed(recently(POISON_CRASHES - 2))).toMatchObject({ outcome: "requeued", attemptsMade: 0 });
  expect(crashed(recently(POISON_CRASHES - 1))).toMatchObject({ outcome: "failed", cause: { code: "poisoned" } });
});

test("each death is noted for the next plan; those of long ago are forgotten, and so are a bystander's", () => {
  const longAgo = NOW_MS - POISON_WINDOW_MS;
  expect(crashed([longAgo, NOW_MS - 1]).crashes).toEqual([NOW_MS - 1, NOW_MS]);
  expect(crashed([longAgo, longAgo, longAgo]).outcome).toBe("requeued");
  expect(crashed([NOW_MS - 1], { isSuspect: false }).crashes).toEqual([NOW_MS - 1]);
});
