import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { expect, test } from "vitest";
import { LaunchFailure } from "../../../src/contract/causes.ts";
import type { VmSpec } from "../../../src/contract/vm-request.ts";
import type { ClaimedJob } from "../../../src/queue/job-claims.ts";
import { FetchLoop } from "../../../src/worker/fetch-loop.ts";
import { GpuSlot } from "../../../src/worker/gpu-slot.ts";
import { Mutex } from "../../../src/worker/mutex.ts";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { assertServed, vmGpu, vmTee } from "../../../src/worker/vm-hardware.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";
import { openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const BDF = "0000:41:00.0";
const MINUTE_MS = 60_000;

/** A loop over pools that hold these jobs, told in `seen` what it asked and got. */
function openLoop(jobs: Record<string, number>, gpuIsFree: () => boolean) {
  const seen: { readonly taken: string[]; readonly waited: { pools: readonly string[]; ms: number }[] } = {
    taken: [],
    waited: [],
  };
  let endWait: () => void = () => undefined;
  const loop = new FetchLoop({
    pools: {
      served: { gpu: ["a+gpu", "b+gpu"], others: ["a", "b"] },
      look: async () => false,
      expectNew: () => undefined,
    },
    fitting: (pools) => pools.filter((pool) => gpuIsFree() || !pool.endsWith("+gpu")),
    claims: {
      nextDelayedAtMs: async () => undefined,
      async fetch(pool): Promise<ClaimedJob | undefined> {
        const left = jobs[pool] ?? 0;
        if (left === 0) return undefined;
        jobs[pool] = left - 1;
        return { vmId: randomUUID(), pool, token: "t", epoch: 1, data: { ok: false, problem: "", newer: false } };
      },
    },
    waiter: {
      wait: (pools, ms) => {
        seen.waited.push({ pools, ms });
        if (Object.values(jobs).some((left) => left > 0)) return Promise.resolve("work");
        return new Promise((resolve) => {
          endWait = () => resolve("nothing");
        });
      },
      stop: () => endWait(),
    },
    mutex: new Mutex(),
    clock: new FakeClock(),
    logger: pino({ level: "silent" }),
    newToken: () => "t",
    hasRoom: () => true,
    roomChanged: () => new Promise(() => undefined),
    take: async ({ pool }) => void seen.taken.push(pool),
    strand: () => undefined,
  });
  return { loop, seen };
}

test("VMs that ask for the GPU come first while it is free; other pools take turns", async () => {
  const taken: string[] = [];
  const { loop, seen } = openLoop({ a: 2, b: 2, "b+gpu": 1 }, () => !taken.some((pool) => pool.endsWith("+gpu")));
  seen.taken.push = (...pools) => taken.push(...pools);
  loop.start();
  await waitFor(() => taken.length === 5);
  await loop.stop();
  expect(taken).toEqual(["b+gpu", "a", "b", "a", "b"]);
});

test("while the GPU is held nobody looks at the pools that ask for it, and it is looked for again soon", async () => {
  const { loop, seen } = openLoop({}, () => false);
  loop.start();
  await waitFor(() => seen.waited.length > 0);
  await loop.stop();
  expect(seen.waited[0]).toEqual({ pools: ["a", "b"], ms: 1_000 });
});

test("one VM at a time has the GPU, up to its very end; one that is found busy is given to nobody for a minute", () => {
  const clock = new FakeClock();
  const slot = new GpuSlot({ bdf: BDF, clock });
  expect(slot.freeFor([{ gpu: false }, { gpu: false }])).toBe(BDF);
  expect(slot.freeFor([{ gpu: false }, { gpu: BDF }])).toBe(false);
  expect(slot.freeFor([{ gpu: "41:00.0" }]), "as the operator wrote it before").toBe(false);
  slot.setAside();
  expect(slot.freeFor([])).toBe(false);
  clock.advance(MINUTE_MS);
  expect(slot.freeFor([])).toBe(BDF);
  expect(new GpuSlot({ bdf: false, clock }).freeFor([])).toBe(false);
});

test("a live VM that a worker takes over keeps its GPU, by what was on disk when Redis has lost it", async () => {
  const worker = openFakeWorker({ gpu: BDF });
  expect(worker.runs.freeGpu).toBe(BDF);
  const holder = worker.leave({ snapshot: { gpu: BDF } });
  await recoverDirectory(worker.recover, holder);
  await waitFor(() => worker.trace.includes("told: vm.adopted"));
  expect(worker.runs.freeGpu).toBe(false);
  worker.qemus[0]?.end({ kind: "guest-shutdown" });
  await worker.ended();
  expect(worker.runs.freeGpu).toBe(BDF);
});

test.each<[VmSpec, string | false, string | false]>([
  [{}, BDF, BDF],
  [{}, false, false],
  [{ gpu: true }, BDF, BDF],
  [{ gpu: false }, BDF, false],
])("of a request %o and a free GPU %s comes %s", (spec, free, gets) => {
  expect(vmGpu(spec, free)).toBe(gets);
});

test("a VM is confidential where its host is, unless its request says never", () => {
  const host = { kind: "snp" } as const;
  expect(vmTee({}, host)).toEqual(host);
  expect(vmTee({ tee: "snp" }, host)).toEqual(host);
  expect(vmTee({ tee: "none" }, host)).toEqual({ kind: "none", note: "as the request asks" });
  expect(vmTee({ tee: "none" }, { kind: "none" })).toEqual({ kind: "none" });
});

test("no VM is launched with less than its request needs, whatever queue it came from", () => {
  const plain = { tee: { kind: "none" }, gpu: false, memory: { size: "2G", bytes: 2 ** 31 } } as const;
  const refusal = (spec: VmSpec) => {
    try {
      assertServed(spec, plain);
    } catch (error) {
      return error instanceof LaunchFailure ? error.failure.code : error;
    }
    return "launched";
  };
  expect(["snp", "tdx", "none", undefined].map((tee) => refusal({ tee } as VmSpec))).toEqual([
    "tee_unsupported",
    "tee_unsupported",
    "launched",
    "launched",
  ]);
  expect([true, false, undefined].map((gpu) => refusal({ gpu } as VmSpec))).toEqual([
    "gpu_busy",
    "launched",
    "launched",
  ]);
});
