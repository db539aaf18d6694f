import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { ClaimedJob } from "../../../src/queue/job-claims.ts";
import { FetchLoop } from "../../../src/worker/fetch-loop.ts";
import { Mutex } from "../../../src/worker/mutex.ts";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { takeJob } from "../../../src/worker/take-job.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";
import { openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

function jobOf(vmId: string): ClaimedJob {
  const value = { v: 1, vmId, owner: "local", pool: "default", spec: {} } as const;
  return { vmId, pool: "default", epoch: 1, token: "second", data: { ok: true, value } };
}

test("a VM that lives here and is fetched again is not touched: neither its directory nor its job", async () => {
  const worker = openFakeWorker();
  const left = worker.leave();
  await recoverDirectory(worker.recover, left);
  await waitFor(() => worker.trace.includes("told: vm.adopted"));
  const before = worker.records.get(left.paths.record);
  worker.trace.length = 0;
  // Redis was put back to a state in which the VM waits: the same epoch, and so the same directory.
  const taken = takeJob({ ...worker.recover, hostFields: {} }, jobOf(left.vmId));
  await expect(taken).rejects.toThrow("in this host's hands already");
  expect(worker.records.get(left.paths.record)).toEqual(before);
  expect(worker.trace).toEqual([]);
  expect(worker.living.size).toBe(1);
});

test("what is fetched when there is no room any more, or Redis was away meanwhile, is not taken and is given back", async () => {
  let hasRoom = true;
  const seen: string[] = [];
  const loop = new FetchLoop({
    pools: { served: { gpu: [], others: ["default"] }, look: async () => false, expectNew: () => undefined },
    fitting: (pools) => pools,
    claims: {
      nextDelayedAtMs: async () => undefined,
      async fetch() {
        hasRoom = false; // as after a loss of the connection, or of the lease
        return jobOf(randomUUID());
      },
    },
    waiter: { wait: async () => "nothing", stop: () => undefined },
    mutex: new Mutex(),
    clock: new FakeClock(),
    logger: pino({ level: "silent" }),
    newToken: () => "token",
    hasRoom: () => hasRoom,
    roomChanged: () => new Promise(() => undefined),
    take: async () => void seen.push("taken"),
    strand: () => void seen.push("stranded"),
  });
  loop.start();
  await waitFor(() => seen.length > 0);
  await loop.stop();
  expect(seen).toEqual(["stranded"]);
});
