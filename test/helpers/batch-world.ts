import type { VmSpec } from "../../src/contract/vm-request.ts";
import { BatchFeeding } from "../../src/queue/batch-feeding.ts";
import type { BatchRecord } from "../../src/queue/batch-record.ts";
import { itemState } from "../../src/queue/batch-states.ts";
import { BatchStore } from "../../src/queue/batch-store.ts";
import { BatchUpkeep } from "../../src/queue/batch-upkeep.ts";
import type { BatchCommit } from "../../src/queue/batch-upload.ts";
import type { ClaimedJob } from "../../src/queue/job-claims.ts";
import { fixedKeys, type KeyRing } from "../../src/runtime/key-ring.ts";
import { KEEP, openQueueWorld } from "./queue-world.ts";

export interface SubmitBatch extends Partial<BatchCommit> {
  readonly owner?: string;
  readonly idempotencyKey?: string;
  readonly specs?: readonly VmSpec[];
}

/** Everything that works on batches, on a key prefix of its own. Nothing is fed unless a test says so. */
export function openBatchWorld({
  windowItems = 1_000,
  keyRing = fixedKeys(undefined),
  keepMs = 3_600_000,
}: {
  readonly windowItems?: number;
  readonly keyRing?: KeyRing;
  readonly keepMs?: number;
} = {}) {
  const world = openQueueWorld();
  const { redis, keys, store, queue, logger } = world;
  const batches = new BatchStore({ redis, keys });
  const feeding = new BatchFeeding({ redis, keys, store, queue, keyRing, windowItems });
  const upkeep = new BatchUpkeep({ redis, keys, feeding, logger, keep: KEEP, keepMs, recountMs: 0 });

  const left = { box: "delete", tail: undefined, final: true, keepMs: 3_600_000 } as const;

  /** Takes a fetched VM through a launch to this end, as its worker tells it; false when it may not be launched. */
  async function run(job: ClaimedJob, outcome: "completed" | "failed"): Promise<boolean> {
    const launch = world.identity(job);
    const { host, epoch } = launch;
    const prepared = await world.launches.prepare(launch, {});
    if (prepared.kind !== "prepared") {
      await world.claims.complete(job, { outcome: "removed", reason: null });
      return false;
    }
    const { port } = prepared;
    const starting = { type: "vm.starting", data: { host, epoch, port, pid: 1 } } as const;
    await world.launches.move(launch, { to: "starting", event: starting, progress: {} });
    if (outcome === "completed") {
      const event = { type: "vm.completed", data: { host, epoch, reason: "guest_shutdown", exitCode: 0 } } as const;
      const fields = { result: JSON.stringify({ exitCode: 0, data: null }) };
      await world.launches.move(launch, { to: "completed", event, fields, progress: {}, leave: left });
      await world.claims.complete(job, { outcome: "completed" });
    } else {
      const cause = { code: "kernel_missing", message: "no kernel" } as const;
      const event = { type: "vm.failed", data: { cause, attempt: 1, host, epoch, exitCode: null } } as const;
      const fields = { cause: JSON.stringify(cause) };
      const leave = { ...left, box: 3_600_000 } as const;
      await world.launches.move(launch, { to: "failed", event, fields, progress: {}, leave });
      await world.claims.failForGood(job, { message: "kernel_missing", story: "" });
    }
    return true;
  }

  return {
    ...world,
    /** Of the VMs; `upkeep` is that of the batches. */
    upkeepOfVms: world.upkeep,
    batches,
    feeding,
    upkeep,
    run,
    /** Fetches and runs one VM after the other until none waits; `outcome` says how each ends. Gives their number. */
    async runAll(outcome: (vmId: string) => "completed" | "failed" = () => "completed"): Promise<number> {
      for (let ran = 0; ; ran++) {
        const job = await world.fetch();
        if (job === undefined) return ran;
        await run(job, outcome(job.vmId));
      }
    },
    async upload(count: number, { owner = "local", idempotencyKey, specs = [], ...over }: SubmitBatch = {}) {
      const upload = batches.newUpload({ owner, idempotencyKey });
      for (let index = 0; index < count; index++) await upload.add({ line: index + 1, spec: specs[index] ?? {} });
      const outcome = await upload.commit({ ...COMMIT, ...over });
      return { batchId: upload.batchId, outcome, upload };
    },
    async batch(batchId: string): Promise<BatchRecord> {
      const batch = await batches.get(batchId);
      if (batch === undefined) throw new Error(`no batch ${batchId}`);
      return batch;
    },
    /** Steps until there is nothing to do; gives their number. */
    async feed(batchId: string): Promise<number> {
      for (let steps = 1; ; steps++) if ((await feeding.step(batchId)) !== "more") return steps;
    },
    /** Counts anew what the letters of the items say. */
    async recounted(batchId: string): Promise<Record<string, number>> {
      const counts: Record<string, number> = {};
      for (const letter of (await redis.get(keys.batchPart(batchId, "states"))) ?? "") {
        counts[itemState(letter)] = (counts[itemState(letter)] ?? 0) + 1;
      }
      return counts;
    },
  };
}

export type BatchWorld = ReturnType<typeof openBatchWorld>;

/** A batch of which nothing is said. */
export const COMMIT: BatchCommit = {
  digest: "digest-1",
  defaults: {},
  pool: "default",
  attempts: 1,
  rejected: 0,
  problems: [],
  eventsMax: 1_000_000,
};
