import { z } from "zod";
import { askedPool } from "../contract/placement.ts";
import type { VmEventData } from "../contract/vm-event.ts";
import { RECORD_VERSION } from "../contract/vm-record.ts";
import { vmIdOfItem } from "../runtime/batch-id.ts";
import type { KeyRing } from "../runtime/key-ring.ts";
import { NO_TRACER, type Span, type Tracer } from "../runtime/tracing/tracer.ts";
import { readManifest } from "./batch-manifest.ts";
import type { BatchRecord } from "./batch-record.ts";
import { type ItemRequest, itemRequest, vmBoxes } from "./batch-vms.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import { PRIORITY_SCALE } from "./priority-scale.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";
import type { VmQueue } from "./vm-queue.ts";

const feedScript = loadScript("batch-feed-9");

/** One step hands Redis no more than this, and the last request: requests may be large. */
const STEP_CHARS = 256 * 1024;

interface NewVm {
  readonly index: number;
  readonly vmId: string;
  readonly request: ItemRequest;
  readonly sealed: string | undefined;
  /** Begins the trace of the VM: of a batch, each VM has its own. */
  readonly span: Span;
}

/** Makes VMs of the listed items of a batch. */
export class BatchAdmission {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #queue: VmQueue;
  readonly #keyRing: KeyRing;
  readonly #tracer: Tracer;

  constructor({
    redis,
    keys,
    queue,
    keyRing,
    tracer = NO_TRACER,
  }: {
    readonly redis: RedisClient;
    readonly keys: RedisKeys;
    readonly queue: VmQueue;
    readonly keyRing: KeyRing;
    readonly tracer?: Tracer;
  }) {
    this.#redis = redis;
    this.#keys = keys;
    this.#queue = queue;
    this.#keyRing = keyRing;
    this.#tracer = tracer;
  }

  /**
   * Puts items into the queue, in this order and as far as the window has room; those that are not listed any more are
   * passed over. A job that could not be added after its VM was accepted is added by a sweeper.
   */
  async admit(batch: BatchRecord, indexes: readonly number[], window: number): Promise<void> {
    const keys = this.#keys;
    const { batchId, owner } = batch;
    const vms = await this.#newVms(batch, indexes);
    const reply = await feedScript.run(
      this.#redis,
      [
        keys.batch(batchId),
        keys.events,
        keys.statePrefix,
        keys.allVms,
        keys.ownedVms(owner),
        keys.pendingJobs,
        keys.deadlines,
        keys.pools,
        keys.batchPart(batchId, "states"),
      ],
      {
        batchId,
        owner,
        window,
        from: batch.next,
        next: Math.max(batch.next, (vms.at(-1)?.index ?? 0) + 1),
        ...PRIORITY_SCALE,
        eventsMax: batch.eventsMax,
        items: vms.map((vm) => this.#entry(batch, vm)),
      },
    );
    const fed = z.array(z.coerce.number()).parse(reply);
    const priorities = new Map<number, number>();
    for (let at = 0; at + 1 < fed.length; at += 2) priorities.set(fed[at] ?? -1, fed[at + 1] ?? 0);
    await this.#queue.enqueueAll(
      vms.flatMap(({ index, vmId, span, request: { pool, spec, attempts } }) => {
        const jobPriority = priorities.get(index);
        if (jobPriority === undefined) return [];
        span.end();
        return [{ vmId, owner, pool, spec, attempts, jobPriority }];
      }),
    );
  }

  async #newVms(batch: BatchRecord, indexes: readonly number[]): Promise<NewVm[]> {
    const { batchId } = batch;
    const source = { redis: this.#redis, keys: this.#keys };
    const [manifest, ownBoxes] = await Promise.all([
      readManifest(source, batchId, indexes),
      this.#redis.hmget(this.#keys.batchPart(batchId, "boxes"), ...indexes.map(String)),
    ]);
    const boxOf = vmBoxes(batch, this.#keyRing.current);
    const vms: NewVm[] = [];
    let chars = 0;
    for (const [at, index] of indexes.entries()) {
      const item = manifest.get(index);
      if (item === undefined) throw new Error(`the manifest of batch ${batchId} has no item ${index}`);
      const vmId = vmIdOfItem(batchId, index);
      const sealed = boxOf(vmId, ownBoxes[at] ?? undefined);
      const span = this.#tracer.start("run", {
        kind: "producer",
        links: [batch.trace],
        attributes: { vmId, batchId },
      });
      vms.push({ index, vmId, request: itemRequest(batch, item.spec), sealed, span });
      chars += item.chars + (sealed?.length ?? 0);
      if (chars > STEP_CHARS) break;
    }
    return vms;
  }

  /** What the script takes of one item. */
  #entry({ batchId, owner, digest }: BatchRecord, { index, vmId, request, sealed, span }: NewVm) {
    const keys = this.#keys;
    const { spec, pool, priority, attempts, queueTimeoutMs } = request;
    const eventData: VmEventData<"vm.queued"> = { pool: askedPool(pool), reason: "accepted" };
    return {
      index,
      vmId,
      digest,
      pool,
      class: priority,
      sealed,
      queueTimeoutMs,
      eventData: JSON.stringify(eventData),
      record: keys.record(vmId),
      box: keys.box(vmId),
      mark: keys.mark(vmId),
      fairness: keys.fairness(pool),
      prioritized: keys.bull(poolQueueName(pool), "prioritized"),
      fields: {
        v: String(RECORD_VERSION),
        owner,
        batch: batchId,
        item: String(index),
        pool,
        priority,
        spec: JSON.stringify(spec),
        attempts: String(attempts),
        attemptsMade: "0",
        hasSecrets: sealed === undefined ? "0" : "1",
        trace: span.context,
      },
    };
  }
}
