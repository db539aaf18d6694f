import { pino } from "pino";
import { expect, test } from "vitest";
import { FetchLoop } from "../../../src/worker/fetch-loop.ts";
import { Mutex } from "../../../src/worker/mutex.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";

/** Far more than any step of the loop may take. */
const LONG_MS = 3_600_000;

function openLoop() {
  const clock = new FakeClock();
  let endWait: () => void = () => undefined;
  const loop = new FetchLoop({
    pools: { served: { gpu: [], others: ["default"] }, look: async () => false, expectNew: () => undefined },
    fitting: (pools) => pools,
    claims: { fetch: async () => undefined, nextDelayedAtMs: async () => undefined },
    waiter: {
      wait: () =>
        new Promise((resolve) => {
          endWait = () => resolve("nothing");
        }),
      stop: () => endWait(),
    },
    mutex: new Mutex(),
    clock,
    logger: pino({ level: "silent" }),
    newToken: () => "token",
    hasRoom: () => true,
    roomChanged: () => new Promise(() => undefined),
    take: async () => undefined,
    strand: () => undefined,
  });
  return { loop, clock };
}

test("a loop that does not come back from a step does not turn: its host must not hold a lease", () => {
  const { loop, clock } = openLoop();
  loop.start();
  expect(loop.isTurning()).toBe(true);
  clock.advance(LONG_MS);
  expect(loop.isTurning()).toBe(false);
});

test("one that was stopped does not hang: a worker that drains for hours is alive, and so is its lease", async () => {
  const { loop, clock } = openLoop();
  loop.start();
  await loop.stop();
  clock.advance(LONG_MS);
  expect(loop.isTurning()).toBe(true);
});
