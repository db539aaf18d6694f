import { expect, test } from "vitest";
import { Reconciler } from "../../../src/worker/reconciler.ts";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { type FakeWorker, openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

/** Takes so many VMs over, which run from here on. */
async function run(worker: FakeWorker, count = 1) {
  const left = Array.from({ length: count }, (_, index) => worker.leave({ pid: 100 + index }));
  for (const each of left) await recoverDirectory(worker.recover, each);
  await waitFor(() => worker.trace.filter((what) => what === "told: vm.adopted").length === count);
  worker.trace.length = 0;
  return left;
}

test("what Redis has forgotten is told again, once for every VM, and they live on", async () => {
  const worker = openFakeWorker();
  await run(worker, 3);
  worker.deps.ownership.check = async () => ({ agrees: false, mark: undefined });
  expect(await worker.runs.agree()).toBe(3);
  expect(worker.trace).toEqual(["reasserted", "reasserted", "reasserted"]);
  expect(worker.living.size).toBe(3);
});

test("a VM that is being stopped and has ended in Redis meanwhile keeps no other from being looked after", async () => {
  const worker = openFakeWorker();
  const [{ vmId: gone } = { vmId: "" }, { vmId: other } = { vmId: "" }] = await run(worker, 2);
  worker.deps.ownership.check = async ({ identity }) => ({
    agrees: identity.vmId !== gone,
    mark: identity.vmId === gone ? { reason: "requested", force: false } : undefined,
  });
  worker.answers.reassert = () => ({ kind: "final", epoch: 1 });
  worker.answers.stopQemu = () => new Promise(() => undefined); // a guest that takes its time
  const extended: string[] = [];
  worker.deps.claims.extendLocks = async (targets) => void extended.push(...targets.map(({ vmId }) => vmId));
  expect(await worker.runs.agree()).toBe(0);
  expect(await worker.runs.agree(), "and the next time").toBe(0);
  expect(extended).toContain(other);
  expect(worker.living.has(other)).toBe(true);
});

test("no VM is told again whose end is being told", async () => {
  const worker = openFakeWorker();
  await run(worker);
  worker.deps.launches.move = () => new Promise(() => undefined); // on its way
  worker.qemus[0]?.end({ kind: "guest-shutdown" });
  await waitFor(() => worker.trace.includes("disk removed"));
  worker.deps.ownership.check = async () => ({ agrees: false, mark: undefined });
  expect(await worker.runs.agree()).toBe(0);
  expect(worker.trace).not.toContain("reasserted");
});

/** As ioredis rejects what Redis answers as an error. */
function reply(message: string): Error {
  const error = new Error(message);
  error.name = "ReplyError";
  return error;
}

function openReconciler(worker: FakeWorker): Reconciler {
  const { mutex, logger } = worker.deps;
  return new Reconciler({
    recover: worker.recover,
    mutex,
    logger,
    ports: { list: async () => [], give: async () => true },
    generation: { check: async () => "same" },
    redisRun: async () => undefined,
    hasOthers: async () => false,
    intervalMs: 1_000,
  });
}

test("a VM of which Redis holds nonsense keeps neither other VMs nor leftovers from being looked after", async () => {
  const worker = openFakeWorker();
  const [{ vmId: broken } = { vmId: "" }] = await run(worker, 2);
  worker.deps.ownership.check = async ({ identity }) => {
    if (identity.vmId === broken) throw reply("WRONGTYPE Operation against a key");
    return { agrees: false, mark: undefined };
  };
  worker.leave({ pid: 300 });
  const reconciler = openReconciler(worker);
  await reconciler.round();
  expect(worker.trace).toContain("reasserted");
  await waitFor(() => worker.trace.includes("told: vm.adopted"), { what: "the leftover to be taken over" });
  expect(reconciler.isCurrent).toBe(true);
});

test("a Redis that refused to be asked about one VM has not been compared with: nothing is fetched before the next round", async () => {
  const worker = openFakeWorker();
  await run(worker, 2);
  let asked = 0;
  worker.deps.ownership.check = async () => {
    if (++asked === 2) throw reply("READONLY You can't write against a read only replica.");
    return { agrees: true, mark: undefined };
  };
  const reconciler = openReconciler(worker);
  await expect(reconciler.round()).rejects.toThrow("READONLY");
  expect(reconciler.isCurrent).toBe(false);
  await reconciler.round();
  expect(reconciler.isCurrent).toBe(true);
});

test("a hundred VMs are no leak to Node", async () => {
  const warnings: string[] = [];
  const note = (warning: Error) => void warnings.push(warning.message);
  process.on("warning", note);
  const worker = openFakeWorker();
  await run(worker, 100);
  await new Promise((resolve) => setImmediate(resolve)); // warnings come later
  process.off("warning", note);
  expect(warnings).toEqual([]);
});
